"""Agreement of two runs: the numbers, on made-up results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.embeddings import to_value
from cvpipe.results import FrameRecord, Objects
from cvpipe.rle import Mask
from cvpipe.tuning import agreement_of

BOX = [10, 10, 30, 30]


def make_record(frame: int = 0, *, box: Any = (), label: Any = None, values: Any = None, **more: Any) -> FrameRecord:
    objects = Objects.make(
        stage="detect", box=list(box), score=[0.9] * len(box), label=label or ["cat"] * len(box), **more
    )
    return FrameRecord(frame, 0, 0.0, objects=objects, values=values or {})


def mask_of(columns: int) -> Mask:
    pixels = np.zeros((10, 10), bool)
    pixels[:, :columns] = True
    return Mask.of(pixels)


@pytest.mark.parametrize(
    ("a", "b", "f1"),
    [
        ({"box": [BOX]}, {"box": [BOX]}, 1.0),
        ({"box": [BOX]}, {"box": [[10, 10, 30, 21]]}, 1.0),  # IoU 0.55
        ({"box": [BOX]}, {"box": [[10, 10, 30, 19]]}, 0.0),  # IoU 0.45
        ({"box": [BOX]}, {"box": [BOX], "label": ["dog"]}, 0.0),
        ({"box": [BOX, [50, 50, 60, 60]]}, {"box": [BOX]}, 2 / 3),
        ({"box": [BOX]}, {"box": [BOX, BOX]}, 2 / 3),
        ({"box": [BOX]}, {}, 0.0),
    ],
    ids=["same", "overlap", "too little overlap", "other label", "one missing", "twice", "none"],
)
def test_objects_are_matched_by_label_at_an_iou_of_a_half(a: dict[str, Any], b: dict[str, Any], f1: float) -> None:
    assert agreement_of([make_record(**a)], [make_record(**b)]).parts == pytest.approx({"f1": f1})


def test_the_best_pair_is_matched_first_and_each_object_once() -> None:
    a = make_record(box=[BOX, [14, 10, 34, 30]])
    b = make_record(box=[[14, 10, 34, 30], [15, 10, 35, 30]])
    assert agreement_of([a], [b]).parts["f1"] == 1.0


def test_all_frames_count_together_and_only_those_that_both_have() -> None:
    a = [make_record(0, box=[BOX] * 1), make_record(1), make_record(2, box=[BOX])]
    b = [make_record(0, box=[BOX]), make_record(1, box=[BOX])]
    found = agreement_of(a, b)
    assert (found.frames, found.score) == (2, pytest.approx(2 / 3))


def test_keypoints_count_within_a_tenth_of_the_objects_size() -> None:
    points = np.array([[10, 10, 1], [20, 20, 1], [30, 30, 0.1]], np.float32)  # the last one is not seen
    moved = points + np.array([[1, 0, 0], [3, 0, 0], [99, 0, 0]], np.float32)
    found = agreement_of([make_record(box=[BOX], keypoints=[points])], [make_record(box=[BOX], keypoints=[moved])])
    assert (found.parts["keypoints"], found.keypoint_pixels, found.score) == (0.5, 2.0, 0.5)


def test_masks_of_matched_objects_are_compared_by_iou() -> None:
    a, b = (make_record(box=[BOX], mask=[mask_of(columns)]) for columns in (4, 5))
    assert agreement_of([a], [b]).parts == pytest.approx({"f1": 1.0, "masks": 0.8})


@pytest.mark.parametrize(
    ("a", "b", "part", "value"),
    [
        (to_value(np.array([1, 0], np.float32)), to_value(np.array([0.6, 0.8], np.float32)), "cosine", 0.6),
        (to_value(np.array([1, 0], np.float32)), None, "cosine", 0.0),
        ({"top": [{"label": "cat"}]}, {"top": [{"label": "cat"}, {"label": "dog"}]}, "classes", 1.0),
        ({"top": [{"label": "cat"}]}, {"top": [{"label": "dog"}]}, "classes", 0.0),
        ({"median": 4.0}, {"median": 5.0}, "depth", 0.75),
        ({"text": "a cat"}, {"text": "a cat"}, "text", 1.0),
    ],
    ids=["vectors", "no vector", "first class", "other class", "depth", "text"],
)
def test_values_are_compared_by_what_they_are(a: Any, b: Any, part: str, value: float) -> None:
    found = agreement_of([make_record(values={"x": a})], [make_record(values={"x": b})])
    assert found.parts == pytest.approx({part: value}, abs=1e-3)


def test_label_maps_agree_where_pixels_have_the_same_label() -> None:
    a, b = (
        make_record(values={"segment": {"classes": [{"label": "road", "mask": mask_of(columns).to_dict()}]}})
        for columns in (4, 6)
    )
    assert agreement_of([a], [b]).parts == {"pixels": 0.8}


def test_parts_of_people_agree_by_the_mean_iou_of_labels_that_either_sees() -> None:
    skin = {"label": "skin", "mask": mask_of(4).to_dict()}
    a = make_record(values={"parse": {"parts": [skin, {"label": "hair", "mask": mask_of(2).to_dict()}]}})
    b = make_record(values={"parse": {"parts": [skin]}})
    assert agreement_of([a], [b]).parts == {"parts": 0.5}


def test_where_neither_finds_anything_there_is_no_score() -> None:
    assert agreement_of([make_record()], [make_record()]).score is None
