"""`redact`: a copy of the video in which faces, plates, or whatever was found can't be made out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Image
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages import Footage, JobStage, StageOptions, Tools

_CELLS = 4
"""What is left of a blurred part: so many grey or coloured spots along its longer side."""

Boxes = npt.NDArray[np.float64]


class RedactOptions(StageOptions):
    """Options of `redact`."""

    type: Literal["redact"] = "redact"
    of: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        min_length=1, max_length=32, description="Names of the stages whose objects are made unrecognisable."
    )
    labels: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None, min_length=1, max_length=1000, description="Only objects of these labels. Default: all."
    )
    method: Literal["blur", "fill"] = Field(
        default="blur",
        description="blur: four spots of colour are left of the longer side. fill: nothing is, it is grey.",
    )
    grow: float = Field(
        default=1.3, ge=1, le=4, description="How much larger than an object's box the part is, about its middle."
    )
    unseen: Literal["redact", "keep"] = Field(
        default="redact",
        description="Frames of which nothing is known (their part of the video was given up, or could not be decoded): "
        "redact makes all of the picture unrecognisable.",
    )


class Redact(JobStage[RedactOptions]):
    """Make a copy of the video at full size in which objects can't be made out (H.264, MP4, no sound).

    Frames between two that were looked at hide what either shows, and all between the two places of a track; frames
    that were skipped count as not looked at.
    """

    Options = RedactOptions
    example = """
    - {type: detect, name: faces, model: yunet}
    - {type: read_text, name: plates, min_score: 0.5}
    - {type: redact, of: [faces, plates]}
    """

    _cv2: Any

    def references(self) -> tuple[str, ...]:
        """The stages whose objects are hidden."""
        return tuple(self.options.of)

    def open(self, tools: Tools) -> None:
        """Take OpenCV."""
        self._cv2 = tools.cv2

    def files(self) -> tuple[str, ...]:
        """The copy; with the stage's name in its own where it has one."""
        return ("redacted.mp4" if self.name in ("", self.options.type) else f"redacted-{self.name}.mp4",)

    def make(self, footage: Footage, folder: Path) -> None:
        """Write the copy."""
        numbers = np.array(footage.part, np.int64)
        between = _Between(record for record in footage.records() if not _was_skipped(record))

        def paint(image: Image, number: int) -> None:
            boxes = self._boxes(*between.at(number), number)
            if boxes is None:
                self._hide(image, (0, 0, image.shape[1], image.shape[0]))
                return
            for box in boxes:
                self._hide(image, self._grown(box, image))

        footage.write_painted(
            folder / self.files()[0], numbers, footage.times[numbers] - footage.times[numbers[0]], paint
        )

    def _boxes(self, before: FrameRecord | None, after: FrameRecord | None, number: int) -> Sequence[Boxes] | None:
        """What to hide on a frame, (4,) each; None: all of it."""
        known = [record for record in (before, after) if record is not None]
        if before is not None and before.frame == number:
            known = [before]
        if not known or any(record.status != "ok" for record in known):
            return None if self.options.unseen == "redact" else []
        found = [self._chosen(record.objects) for record in known]
        boxes = [box for objects in found for box in objects.box.astype(np.float64)]
        if len(found) == 2:
            boxes += _hulls(*found)
        return boxes

    def _chosen(self, objects: Objects) -> Objects:
        names, labels = self.options.of, self.options.labels
        pairs = zip(objects.stage, objects.label, strict=True)
        inside = [stage in names and (labels is None or label in labels) for stage, label in pairs]
        return objects.where(np.array(inside, bool))

    def _grown(self, box: Boxes, image: Image) -> tuple[int, int, int, int]:
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * self.options.grow
        left, top = np.floor(middle - half).astype(int).clip(0).tolist()
        right, bottom = np.ceil(middle + half).astype(int).clip(0, (image.shape[1], image.shape[0])).tolist()
        return left, top, right, bottom

    def _hide(self, image: Image, corners: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = corners
        part = image[top:bottom, left:right]
        if not part.size:
            return
        if self.options.method == "fill":
            part[:] = 128
            return
        cv2, (height, width) = self._cv2, part.shape[:2]
        scale = _CELLS / max(width, height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        spots = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(spots, (width, height), interpolation=cv2.INTER_LINEAR)


def _was_skipped(record: FrameRecord) -> bool:
    return any(isinstance(value, dict) and value.get("skipped") is True for value in record.values.values())


def _hulls(one: Objects, other: Objects) -> Iterator[Boxes]:
    """The box around the two places of each track that both have."""
    places = {
        (stage, track): box
        for stage, track, box in zip(one.stage, one.track.tolist(), one.box, strict=True)
        if track >= 0
    }
    for stage, track, box in zip(other.stage, other.track.tolist(), other.box, strict=True):
        known = places.get((stage, track))
        if known is not None:
            yield np.concatenate((np.minimum(known[:2], box[:2]), np.maximum(known[2:], box[2:]))).astype(np.float64)


class _Between:
    """The records around a frame, for frames in order: the last at or before it, and the first behind it."""

    def __init__(self, records: Iterable[FrameRecord]) -> None:
        self._records = iter(records)
        self._next = next(self._records, None)
        self._last: FrameRecord | None = None

    def at(self, number: int) -> tuple[FrameRecord | None, FrameRecord | None]:
        while self._next is not None and self._next.frame <= number:
            self._last, self._next = self._next, next(self._records, None)
        return self._last, self._next
