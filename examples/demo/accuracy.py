"""How well boxes, joints and masks were found, as COCO measures it: records and truth in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as rle

from examples.demo.layers import JOINTS, LABELS, SIGMAS
from examples.demo.truth import FrameTruth, ThingTruth

Row = dict[str, Any]

_PERSON: Final = LABELS.index("person")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean average precision, 0 to 1: over thresholds of 0.5 to 0.95, and at 0.5 alone (`_50`).

    box, box_50: by the overlap of boxes. mask, mask_50: of masks. joints, joints_50: by the similarity of keypoints
    (OKS), people only. mask_iou: mean overlap of the true masks with those of the best box of the class (0 where none
    overlaps by half). things: how many there were to find.
    """

    box: float
    box_50: float
    mask: float
    mask_50: float
    joints: float
    joints_50: float
    mask_iou: float
    things: int


def measure(records: Iterable[Mapping[str, Any]], frames: Sequence[FrameTruth], size: tuple[int, int]) -> Accuracy:
    """Hold frame records, as the API and NDJSON give them, against what the frames show.

    size: (width, height) of the frames. Frames without a record are not asked for. What shows too little to count is
    no mistake, found or missed.
    """
    shown = {frame.frame: frame for frame in frames}
    true: list[Row] = []
    found: list[Row] = []
    images = []
    for record in records:
        frame = record["frame"]
        images.append({"id": frame, "width": size[0], "height": size[1]})
        true += [_true(thing, frame, len(true) + n + 1, size) for n, thing in enumerate(shown[frame].things)]
        found += [_found(row, frame) for row in record["objects"] if row["label"] in LABELS]
    things = sum(not row["iscrowd"] for row in true)
    if not found or not things:
        return Accuracy(0, 0, 0, 0, 0, 0, 0, things)
    box, box_50 = _precision(images, true, found, "bbox")
    mask, mask_50 = _precision(images, true, found, "segm")
    joints, joints_50 = _precision(images, true, found, "keypoints")
    return Accuracy(box, box_50, mask, mask_50, joints, joints_50, _mask_iou(true, found), things)


def _true(thing: ThingTruth, frame: int, number: int, size: tuple[int, int]) -> Row:
    mask = {"size": [size[1], size[0]], "counts": thing.mask}
    x1, y1, x2, y2 = thing.box
    joints = thing.joints or ()
    return {
        "id": number,
        "image_id": frame,
        "category_id": LABELS.index(thing.label),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": mask,
        "area": float(rle.area({**mask, "counts": thing.mask.encode()})),
        "keypoints": [float(value) for joint in joints for value in joint],
        "num_keypoints": sum(joint.sight > 0 for joint in joints),
        "iscrowd": int(not thing.counts),
        "ignore": int(not thing.counts),
    }


def _found(row: Mapping[str, Any], frame: int) -> Row:
    x1, y1, x2, y2 = row["box"]
    return {
        "image_id": frame,
        "category_id": LABELS.index(row["label"]),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": row["score"],
        "segmentation": row.get("mask"),
        "keypoints": [float(value) for point in row.get("keypoints") or () for value in point],
    }


def _precision(
    images: Sequence[Row], true: Sequence[Row], found: Sequence[Row], kind: Literal["bbox", "segm", "keypoints"]
) -> tuple[float, float]:
    people = kind == "keypoints"
    categories = [{"id": n, "name": label} for n, label in enumerate(LABELS) if not people or n == _PERSON]
    if people:
        categories[0]["keypoints"] = list(JOINTS)
        true = [row for row in true if row["category_id"] == _PERSON]
        found = [row for row in found if row["category_id"] == _PERSON and row["keypoints"]]
    with redirect_stdout(StringIO()):
        coco = COCO({"images": list(images), "annotations": [dict(row) for row in true], "categories": categories})
        if not found:
            return 0.0, 0.0
        of_found = coco.loadRes([dict(row) for row in found])
        evaluation = COCOeval_faster(coco, of_found, iouType=kind, kpt_oks_sigmas=np.array(SIGMAS) if people else None)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def _mask_iou(true: Sequence[Row], found: Sequence[Row]) -> float:
    overlaps = []
    for thing in true:
        if thing["iscrowd"]:
            continue
        key = (thing["image_id"], thing["category_id"])
        masks = [row for row in found if (row["image_id"], row["category_id"]) == key and row["segmentation"]]
        boxes = [row["bbox"] for row in masks]
        best = 0.0
        if boxes:
            by_box = np.asarray(rle.iou(np.array(boxes), np.array([thing["bbox"]]), [False])).reshape(-1)
            if by_box.max() >= 0.5:
                pair = (masks[int(by_box.argmax())]["segmentation"], thing["segmentation"])
                best = float(np.asarray(rle.iou([_bytes(pair[0])], [_bytes(pair[1])], [False])).reshape(-1)[0])
        overlaps.append(best)
    return float(np.mean(overlaps))


def _bytes(mask: Row) -> Row:
    counts = mask["counts"]
    return {"size": mask["size"], "counts": counts.encode() if isinstance(counts, str) else counts}
