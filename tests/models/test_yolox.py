"""YOLOX: cells and logarithms to boxes, on canvases of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Limits
from cvpipe.models.yolox import Yolox
from tests.modelcards import is_near, make_card

CARD = ModelCard.model_validate(make_card(family="yolox"))


def make_output(width: int, height: int, cells: dict[int, list[float]]) -> np.ndarray:
    """(cells, 8), zero but for the given cells."""
    count = sum((width // stride) * (height // stride) for stride in (8, 16, 32))
    out = np.zeros((count, 8), np.float32)
    for cell, row in cells.items():
        out[cell] = row
    return out


@pytest.mark.parametrize(
    ("size", "cell", "row", "box"),
    [
        ((64, 64), 0, [0.5, 0.5, 0, 0], (0, 0, 8, 8)),
        ((64, 64), 8, [0.5, 0.5, 0, 0], (0, 8, 8, 16)),
        ((64, 32), 8, [0.5, 0.5, 0, 0], (0, 8, 8, 16)),
        ((32, 64), 8, [0.5, 0.5, 0, 0], (0, 16, 8, 24)),
        ((64, 64), 64, [1, 1, np.log(2), 0], (0, 8, 32, 24)),
        ((64, 64), 83, [0, 0, 0, 0], (16, 16, 48, 48)),
        ((64, 32), 41, [0, 0, 0, 0], (16, -16, 48, 16)),
    ],
    ids=["first", "second row", "second row, wide", "third row, tall", "stride 16", "last", "last, wide"],
)
def test_a_cell_becomes_a_box(size: tuple[int, int], cell: int, row: list[float], box: tuple[int, ...]) -> None:
    out = make_output(*size, {cell: [*row, 0.8, 0.1, 0.9, 0]})
    (boxes,) = Yolox().decode([(out,)], [View.of(*size)], CARD, Limits(score=0.5, iou=0.5))
    assert boxes.box == pytest.approx(np.array([box], np.float32), abs=1e-4)
    assert boxes.score == pytest.approx([0.72])
    assert boxes.class_id.tolist() == [1]


@pytest.mark.parametrize(("threshold", "n"), [(0.0, 84), (0.719, 1), (0.721, 0)])
def test_the_score_is_objectness_times_class(threshold: float, n: int) -> None:
    out = make_output(64, 64, {7: [0, 0, 0, 0, 0.8, 0, 0, 0.9]})
    (boxes,) = Yolox().decode([(out,)], [View.of(64, 64)], CARD, Limits(score=threshold, iou=1))
    assert len(boxes) == n


@pytest.mark.parametrize("shapes", [[(84, 9)], [(85, 8)], [(8, 84)], [(84, 8), (84, 8)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"yolox with 3 labels at 64x64 has one output of shape \(84, 8\)"):
        Yolox().check(shapes, CARD)
    Yolox().check([(84, 8)], CARD)


def test_the_trained_network_finds_what_it_found_before(look: Any) -> None:
    names = ["room 80", "room 240", "film 24", "film 96"]
    wanted = [
        [("person", 0.87, [373.5, 13.0, 522.6, 408.2])],
        [("person", 0.90, [356.8, 31.7, 527.5, 411.2])],
        [("person", 0.84, [194.5, 175.1, 355.0, 417.7])],
        [("person", 0.91, [266.8, 107.7, 546.4, 420.7])],
    ]
    for found, expected in zip(look("yolox-nano", names, score_threshold=0.4), wanted, strict=True):
        assert is_near(found, expected)


def test_pictures_of_a_batch_are_read_each_for_itself() -> None:
    tables = [make_output(64, 64, {cell: [0.5, 0.5, 0, 0, 0.8, 0.1, 0.9, 0]}) for cell in (0, 8, 9)]
    view, limits = View.of(64, 64), Limits(score=0.5, iou=0.5)
    together = Yolox().decode([(table,) for table in (*tables, tables[0] * 0)], [view] * 4, CARD, limits)
    assert [boxes.box.tolist() for boxes in together] == [[[0, 0, 8, 8]], [[0, 8, 8, 16]], [[8, 8, 16, 16]], []]
