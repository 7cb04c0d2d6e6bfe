"""How much two runs of a model on the same frames agree: 1 where they say the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.embeddings import from_value
from cvpipe.results import FrameRecord, Objects
from cvpipe.rle import Mask

IOU: Final = 0.5
"""Two boxes of one label that overlap at least so much are the same object."""
_SEEN: Final = 0.3
_NEAR: Final = 0.1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much two runs agree.

    parts: by what they say: `f1` of objects; `keypoints`, the share within a tenth of the object's size; `masks`, mean
    IoU; `pixels`, the share with the same labels; `parts`, mean IoU of people's parts; `classes`, the share with the
    same first class; `text`, the share that is equal; `cosine` of vectors; `depth`, one less the relative error.
    keypoint_pixels: mean distance of keypoints. frames: compared.
    """

    frames: int
    parts: Mapping[str, float]
    keypoint_pixels: float | None = None

    @property
    def score(self) -> float | None:
        """The lowest of the parts; None where neither run says anything."""
        return min(self.parts.values(), default=None)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.3f}" for name, value in self.parts.items()) or "nothing found"


@dataclass(slots=True)
class _Sums:
    """What was gathered so far. means: values to take the mean of, by part."""

    matched: int = 0
    boxes: int = 0
    means: dict[str, list[float]] = field(default_factory=dict)
    distances: list[float] = field(default_factory=list)

    def add(self, part: str, value: float) -> None:
        self.means.setdefault(part, []).append(value)


def agreement_of(reference: Iterable[FrameRecord], other: Iterable[FrameRecord]) -> Agreement:
    """How much `other` agrees with `reference` on the frames that both have.

    Objects are matched by label, the best pairs by IoU first; F1 counts all of them over all frames.
    """
    found = {record.frame: record for record in other}
    sums, frames = _Sums(), 0
    for a in reference:
        b = found.get(a.frame)
        if b is None:
            continue
        frames += 1
        _objects(a.objects, b.objects, sums)
        for stage, value in a.values.items():
            _values(value, b.values.get(stage), sums)
    parts: dict[str, float] = {}
    if sums.boxes:
        parts["f1"] = 2 * sums.matched / sums.boxes
    parts |= {part: max(0.0, float(np.mean(values))) for part, values in sums.means.items()}
    return Agreement(frames, parts, float(np.mean(sums.distances)) if sums.distances else None)


def _objects(a: Objects, b: Objects, sums: _Sums) -> None:
    sums.boxes += len(a) + len(b)
    for i, j in _pairs(a, b):
        sums.matched += 1
        points, others = a.keypoints[i], b.keypoints[j]
        if points is not None and others is not None and points.shape == others.shape:
            _keypoints(points, others, a.box[i], sums)
        mask, other = a.mask[i], b.mask[j]
        if mask is not None and other is not None:
            sums.add("masks", _iou_of(mask.pixels(), other.pixels()))
        if a.text[i] is not None:
            sums.add("text", float(a.text[i] == b.text[j]))
        for stage, value in (a.values[i] or {}).items():
            _values(value, (b.values[j] or {}).get(stage), sums)


def _pairs(a: Objects, b: Objects) -> Iterator[tuple[int, int]]:
    """Places of the same objects, each used once."""
    if not len(a) or not len(b):
        return
    first, last = np.maximum(a.box[:, None, :2], b.box[None, :, :2]), np.minimum(a.box[:, None, 2:], b.box[None, :, 2:])
    common = np.clip(last - first, 0, None).prod(-1)
    areas = [np.clip(some.box[:, 2:] - some.box[:, :2], 0, None).prod(-1) for some in (a, b)]
    iou = common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)
    iou[np.array(a.label)[:, None] != np.array(b.label)[None]] = 0
    while (best := iou.max()) >= IOU:
        i, j = (int(place) for place in np.unravel_index(int(iou.argmax()), iou.shape))
        assert best > 0
        iou[i], iou[:, j] = -1, -1
        yield i, j


def _keypoints(a: npt.NDArray[Any], b: npt.NDArray[Any], box: npt.NDArray[Any], sums: _Sums) -> None:
    """a, b: (k, 3) x, y in pixels and score. box: (4,) of the reference, in pixels."""
    seen = a[:, 2] >= _SEEN
    if not seen.any():
        return
    size = float(np.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1)))
    distances = np.hypot(*(a[seen, :2] - b[seen, :2]).T)
    sums.distances += distances.tolist()
    sums.add("keypoints", float((distances <= _NEAR * size).mean()))


def _values(a: Any, b: Any, sums: _Sums) -> None:
    """What a stage says of a frame or an object, in the forms that the stages have."""
    if not isinstance(a, Mapping):
        return
    b = b if isinstance(b, Mapping) else {}
    vector = from_value(a)
    if vector is not None:
        other = from_value(b)
        same = other is not None and other.shape == vector.shape
        sums.add("cosine", _cosine(vector, other) if same and other is not None else 0.0)
    elif "top" in a:
        sums.add("classes", float(_first(a["top"]) == _first(b.get("top", ()))))
    elif "classes" in a:
        _label_map(a["classes"], b.get("classes", ()), sums)
    elif "parts" in a:
        _masks(a["parts"], b.get("parts", ()), sums)
    elif "median" in a:
        _depth(a["median"], b.get("median"), sums)
    elif "text" in a:
        sums.add("text", float(a["text"] == b.get("text")))


def _first(top: Sequence[Mapping[str, Any]]) -> Any:
    return top[0]["label"] if top else None


def _cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float(np.array_equal(a, b))


def _label_map(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], sums: _Sums) -> None:
    """The share of pixels to which both give the same label; nothing where neither sees any class."""
    masks = [{row["label"]: Mask.from_dict(row["mask"]).pixels() for row in rows} for rows in (a, b)]
    if not (masks[0] or masks[1]):
        return
    labels = sorted({*masks[0], *masks[1]})
    shape = next(iter((masks[0] or masks[1]).values())).shape
    maps = []
    for some in masks:
        painted = np.zeros(shape, np.int32)
        for number, label in enumerate(labels, 1):
            if label in some:
                painted[some[label]] = number
        maps.append(painted)
    sums.add("pixels", float((maps[0] == maps[1]).mean()))


def _masks(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], sums: _Sums) -> None:
    """The mean IoU over the labels that either sees."""
    masks = [{row["label"]: Mask.from_dict(row["mask"]).pixels() for row in rows} for rows in (a, b)]
    labels = {*masks[0], *masks[1]}
    for label in sorted(labels):
        both = label in masks[0] and label in masks[1]
        sums.add("parts", _iou_of(masks[0][label], masks[1][label]) if both else 0.0)


def _depth(a: Any, b: Any, sums: _Sums) -> None:
    if a is None:
        return
    sums.add("depth", 1 - min(1.0, abs(a - b) / max(abs(a), 1e-9)) if b is not None else 0.0)


def _iou_of(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 1.0
