"""What a family reads of a picture does not depend on the pictures beside it, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, best_of_each, discover, family
from cvpipe.models.suppression import TOGETHER
from tests.modelcards import make_card

GRIDS = (64, 16, 4)  # cells of 64x64 pixels at strides 8, 16, 32
POSE = {"task": "pose", "labels": [], "keypoints": ["head", "hand", "foot"]}
MASKS = {"task": "instance-segmentation"}

CASES: dict[str, tuple[dict[str, Any], list[tuple[int, ...]]]] = {
    "yolox": ({}, [(84, 8)]),
    "ultralytics-yolo": ({}, [(7, 84)]),
    "ultralytics-yolo v5": ({}, [(252, 8)]),
    "ultralytics-yolo end-to-end": ({}, [(300, 6)]),
    "ultralytics-pose": (POSE, [(14, 84)]),
    "ultralytics-seg": (MASKS, [(39, 84), (32, 16, 16)]),
    "detr": ({}, [(40, 3), (40, 4)]),
    "detr softmax": ({}, [(40, 4), (40, 4)]),
    "detr chosen": ({}, [(40,), (40, 4), (40,)]),
    "ssd": ({"options": {"activation": "softmax"}}, [(40, 4), (40, 4)]),
    "nanodet": ({}, [(85, 35)]),
    "fastestdet": ({}, [(8, 4, 4)]),
    "retinanet": ({"options": {"strides": [32], "sizes": [[16]]}}, [(12, 3), (12, 4)]),
    "yunet": ({"task": "faces", "labels": ["face"]}, [(cells, n) for n in (1, 1, 4, 10) for cells in GRIDS]),
    "mask-rcnn": (MASKS, [(9, 4), (9,), (9,), (9, 1, 28, 28)]),
    "drawn": (MASKS, [(84, 15), (8, 16, 16)]),
    "movenet-multi": ({"task": "pose", "labels": ["person"], "keypoints": "coco"}, [(6, 56)]),
}


def bits(boxes: Boxes) -> list[bytes]:
    arrays = [boxes.box, boxes.score, boxes.class_id]
    arrays += [] if boxes.keypoints is None else [boxes.keypoints]
    for patch in boxes.mask or ():
        arrays += [patch.box, patch.value]
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


@pytest.mark.parametrize("name", CASES)
def test_pictures_of_a_batch_are_read_as_if_alone(name: str) -> None:
    changes, shapes = CASES[name]
    card = ModelCard.model_validate(make_card(family=name.split(" ", maxsplit=1)[0], **changes))
    reader = family(card)
    assert isinstance(reader, ObjectFamily)
    reader.check(shapes, card)
    random = np.random.default_rng(7)
    together = [random.random((5, *shape), np.float32) * 2 for shape in shapes]
    outputs = [tuple(array[i] for array in together) for i in range(5)]
    apart = [tuple(array[i].copy() for array in together) for i in range(5)]
    limits, views = Limits(0.4, 0.5), [View.of(64, 64)] * 5
    batch = reader.decode(outputs, views, card, limits)
    alone = [reader.decode([output], views[:1], card, limits)[0] for output in apart]
    assert sum(len(boxes) for boxes in batch) > 5
    assert [bits(boxes) for boxes in batch] == [bits(boxes) for boxes in alone]
    in_pairs = [boxes for i in (0, 2) for boxes in reader.decode(apart[i : i + 2], views[:2], card, limits)]
    assert [bits(boxes) for boxes in in_pairs] == [bits(boxes) for boxes in alone[:4]]


def test_many_boxes_on_several_pictures_are_chosen_from_as_if_alone() -> None:
    random = np.random.default_rng(3)
    first = random.random((3 * TOGETHER, 2), np.float32) * 50
    box = np.concatenate((first, first + 1 + random.random(first.shape, np.float32) * 12), axis=1)
    picture = np.sort(random.integers(0, 4, len(box)))
    boxes = Boxes(box, random.random(len(box), np.float32), random.integers(0, 3, len(box)))
    limits, views = Limits(0.4, 0.5, objects=100), [View.of(60, 60)] * 4
    found = best_of_each(boxes, picture, views, limits, labels=3)
    for number in range(4):
        mine = np.flatnonzero(picture == number)
        alone = best_of_each(boxes.take(mine), np.zeros(len(mine), np.int64), views[:1], limits, labels=3)
        assert mine[alone[0]].tolist() == found[number].tolist()
        assert 20 < len(found[number]) < len(mine)


def test_every_family_of_objects_is_tried() -> None:
    kinds = {kind for kind, found in discover().items() if isinstance(found, ObjectFamily)}
    assert {name.split(" ")[0] for name in CASES} >= kinds
