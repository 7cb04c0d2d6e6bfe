"""NanoDet: distances as distributions, in two layouts and two conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.nanodet import Nanodet
from tests.modelcards import facts, make_card

BINS = 8


def distances(*sides: float) -> list[float]:
    """Logits of four distributions whose means are these, in strides."""
    logits = np.full((4, BINS), -50.0)
    for row, side in zip(logits, sides, strict=True):
        low = int(side)
        row[low : low + 2] = np.log([1 - side + low + 1e-30, side - low + 1e-30])[: BINS - low]
    return logits.ravel().tolist()


def make_table(cells: int) -> np.ndarray:
    """A dog about row 1, column 2 of stride 8, and a worse one of stride 16 in the same place."""
    table = np.zeros((cells, 3 + 4 * BINS), np.float32)
    table[8 + 2] = [0.1, 0.9, 0, *distances(1, 0.5, 2, 3.25)]
    table[64] = [0.1, 0.8, 0, *distances(0, 0, 2, 2)]
    table[65] = [0.1, 0.2, 0.3, *distances(1, 1, 1, 1)]
    return table


@pytest.mark.parametrize(
    ("cells", "options", "dogs"),
    [
        (85, {}, [[16, 8, 64, 68], [0, 0, 64, 64]]),
        (84, {}, [[24, 16, 72, 76], [16, 16, 80, 80]]),
        (84, {"centre": "corner"}, [[16, 8, 64, 68], [0, 0, 64, 64]]),
    ],
    ids=["plus", "first", "as asked"],
)
def test_distances_become_boxes(see: Any, cells: int, options: dict[str, Any], dogs: list[list[int]]) -> None:
    found = see(make_table(cells), family="nanodet", options=options, iou_threshold=0.9)
    assert [(label, score) for label, score, _ in facts(found)] == [("dog", 0.9), ("dog", 0.8)]
    assert found.box == pytest.approx(np.array(dogs), abs=0.01)


def test_older_exports_have_two_outputs_for_each_stride(see: Any) -> None:
    table = make_table(84)
    levels = np.split(table, [64, 80])
    answers = [level[:, :3] for level in levels] + [level[:, 3:] for level in levels]
    found = see(*answers, family="nanodet", iou_threshold=0.9)
    assert found.box == pytest.approx(np.array([[24, 16, 72, 76], [16, 16, 80, 80]]), abs=0.01)


def test_parts_of_cells_count_as_cells() -> None:
    card = ModelCard.model_validate(make_card(family="nanodet", labels="coco", input={"width": 416, "height": 416}))
    Nanodet().check([(3598, 112)], card)  # 52 * 52 + 26 * 26 + 13 * 13 + 7 * 7


@pytest.mark.parametrize("shapes", [[(84, 36)], [(84, 3)], [(83, 35)], [(64, 3), (16, 3)], [(84,)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(family="nanodet"))
    with pytest.raises(InvalidModel, match=r"nanodet with 3 labels at 64x64 has one output of shape \(85 or 84, 3 "):
        Nanodet().check(shapes, card)
