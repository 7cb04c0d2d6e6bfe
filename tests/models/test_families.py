"""Families: found by their file's name; boxes kept and dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe import models
from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models import Boxes, best_boxes
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


def test_equal_scores_keep_the_order_of_the_network() -> None:
    box = np.array([[0, 0, 5, 5], [10, 0, 15, 5], [20, 0, 25, 5]], np.float32)
    kept = best_boxes(Boxes(box, np.full(3, 0.5, np.float32), np.array([2, 0, 1])), iou_threshold=0.5)
    assert kept.class_id.tolist() == [2, 0, 1]


def test_families_are_called_like_their_files() -> None:
    assert sorted(models.discover()) == ["ultralytics-yolo", "yolox"]
    assert all(family.kind == kind for kind, family in models.discover().items())


def test_an_unknown_family_is_told_with_the_nearest_name() -> None:
    card = ModelCard.model_validate(make_card(family="yolo-x"))
    with pytest.raises(InvalidModel, match="tiny@1: there is no family 'yolo-x'; did you mean 'yolox'") as caught:
        models.family(card)
    assert caught.value.field == "family"
