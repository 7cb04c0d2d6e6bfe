"""Families: found by their file's name; boxes kept and dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvpipe import models
from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Boxes, Limits, best_boxes, best_of_each, kept_boxes, suppression, whole_numbers
from tests.modelcards import make_card


def suppress(rows: list[tuple[Any, ...]], iou_threshold: float = 0.5) -> list[tuple[float, int]]:
    """(score, class) of the boxes that stay; rows: x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    boxes = Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))
    kept = best_boxes(boxes, iou_threshold=iou_threshold)
    return [(round(float(score), 2), int(label)) for score, label in zip(kept.score, kept.class_id, strict=True)]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([], []),
        ([(0, 0, 10, 10, 0.5, 0), (0, 0, 10, 9, 0.9, 0)], [(0.9, 0)]),
        ([(0, 0, 10, 10, 0.5, 0), (0, 0, 10, 9, 0.9, 1)], [(0.9, 1), (0.5, 0)]),
        ([(0, 0, 10, 10, 0.5, 0), (20, 0, 30, 10, 0.9, 0)], [(0.9, 0), (0.5, 0)]),
        ([(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 5, 0.5, 0)], [(0.9, 0), (0.5, 0)]),
        ([(0, 0, 10, 10, 0.9, 0), (0, 4, 10, 14, 0.8, 0), (0, 8, 10, 18, 0.7, 0)], [(0.9, 0), (0.8, 0), (0.7, 0)]),
        ([(0, 0, 10, 10, 0.9, 0), (0, 3, 10, 13, 0.8, 0), (0, 6, 10, 16, 0.7, 0)], [(0.9, 0), (0.7, 0)]),
        ([(0, 0, 0, 10, 0.9, 0), (0, 0, 10, 10, 0.5, 0)], [(0.5, 0)]),
    ],
    ids=[
        "none",
        "the better of two stays",
        "classes do not compete",
        "far apart",
        "exactly at the threshold stays",
        "chain below the threshold",
        "what a dropped box overlapped stays",
        "no area",
    ],
)
def test_of_overlapping_boxes_the_best_stays(rows: list[tuple[Any, ...]], kept: list[tuple[float, int]]) -> None:
    assert suppress(rows) == kept


@st.composite
def crowds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and classes: whole numbers, so that float32 holds areas exactly; many equal."""
    n = draw(st.sampled_from([0, 1, 2, 7, 40, 200, 300]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([8, 40, 400]))
    first = random.integers(0, size, (n, 2))
    box = np.concatenate((first, first + random.integers(0, size // 2, (n, 2))), axis=1).astype(np.float32)
    score = random.integers(0, draw(st.sampled_from([2, 1000])), n).astype(np.float32) / 1000
    return box, score, random.integers(0, draw(st.sampled_from([1, 3, 80])), n)


def plain_suppression(box: np.ndarray, score: np.ndarray, class_id: np.ndarray, threshold: float) -> list[int]:
    """The textbook's loop over pairs."""
    kept: list[int] = []
    for i in sorted(range(len(box)), key=lambda i: (-score[i], i)):
        x1, y1, x2, y2 = box[i].tolist()
        if x2 <= x1 or y2 <= y1:
            continue
        for j in kept:
            u1, v1, u2, v2 = box[j].tolist()
            shared = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
            union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
            if class_id[i] == class_id[j] and shared > np.float32(threshold) * np.float32(union):
                break
        else:
            kept.append(i)
    return kept


@settings(max_examples=60)
@given(crowds(), st.sampled_from([0.0, 0.25, 0.45, 0.5, 0.7, 1.0]), st.sampled_from([0, 1000]))
def test_what_stays_is_what_the_plain_loop_keeps(
    crowd: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, together: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "TOGETHER", together)  # both ways: all at once, and class by class
        assert kept_boxes(*crowd, iou_threshold=threshold).tolist() == plain_suppression(*crowd, threshold)


def test_the_best_ten_thousand_boxes_are_looked_at() -> None:
    first = np.stack((np.arange(10_001) * 2, np.zeros(10_001)), axis=1).astype(np.float32)
    score = np.linspace(0, 1, 10_001, dtype=np.float32)
    kept = kept_boxes(np.concatenate((first, first + 1), axis=1), score, np.zeros(10_001, int), iou_threshold=0.5)
    assert kept.tolist() == list(range(10_000, 0, -1))


def test_each_picture_keeps_its_own_best() -> None:
    boxes = Boxes(
        np.array(
            [
                (0, 20, 10, 30),  # overlapped by the next
                (0, 20, 10, 31),
                (0, 20, 10, 32),  # of another class
                (0, 0, 10, 12),  # in the padding
                (0, 20, 10, np.inf),
                (0, 20, 10, 32),  # of a class that is none
                (0, 20, 10, 30),  # on the next picture
                (50, 20, 60, 30),
                (0, 40, 10, 44),
            ],
            np.float32,
        ),
        np.array([0.5, 0.6, 0.7, 0.9, 0.9, 0.9, 0.5, 0.6, 0.7], np.float32),
        np.array([0, 0, 1, 0, 0, 2, 0, 0, 1]),
    )
    view = View.of(128, 64).resized(64, 64, mode="letterbox")
    picture = np.array([0, 0, 0, 0, 0, 0, 2, 2, 2])

    def kept(limits: Limits, **how: bool) -> list[list[int]]:
        found = best_of_each(boxes, picture, [view] * 3, limits, labels=2, **how)
        return [places.tolist() for places in found]

    assert kept(Limits(0.5, 0.5)) == [[2, 1], [], [8, 7, 6]]
    assert kept(Limits(0.5, 0.5), suppress=False) == [[2, 1, 0], [], [8, 7, 6]]
    assert kept(Limits(0.5, 0.5, objects=1)) == [[2], [], [8]]
    assert kept(Limits(0.5, 0.5, classes=frozenset([0]))) == [[1], [], [7, 6]]


def test_class_numbers_come_as_floats_or_integers() -> None:
    odd = np.array([0, 2.0, np.nan, np.inf, -np.inf, 3e30, -7], np.float32)
    assert whole_numbers(odd).tolist() == [0, 2, -1, -1, -1, 2**30, -1]
    assert whole_numbers(np.array([5, -1], np.int32)).tolist() == [5, -1]


def test_equal_scores_keep_the_order_of_the_network() -> None:
    box = np.array([[0, 0, 5, 5], [10, 0, 15, 5], [20, 0, 25, 5]], np.float32)
    kept = best_boxes(Boxes(box, np.full(3, 0.5, np.float32), np.array([2, 0, 1])), iou_threshold=0.5)
    assert kept.class_id.tolist() == [2, 0, 1]


def test_families_are_called_like_their_files_and_each_has_a_test() -> None:
    found = models.discover()
    assert {"ultralytics-yolo", "yolox"} <= set(found)
    files = {kind: type(family).__module__.rsplit(".", 1)[1] for kind, family in found.items()}
    assert {kind: kind.replace("-", "_") for kind in found} == files
    here = Path(__file__).parent
    assert [file for file in files.values() if not (here / f"test_{file}.py").is_file()] == []


def test_an_unknown_family_is_told_with_the_nearest_name() -> None:
    card = ModelCard.model_validate(make_card(family="yolo-x"))
    with pytest.raises(InvalidModel, match="tiny@1: there is no family 'yolo-x'; did you mean 'yolox'") as caught:
        models.family(card)
    assert caught.value.field == "family"
