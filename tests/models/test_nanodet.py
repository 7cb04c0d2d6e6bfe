"""NanoDet: distances as distributions, in two layouts and two conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Limits
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


def plain_reading(table: np.ndarray, *, score: float, iou: float) -> list[tuple[str, float, list[float]]]:
    """NanoDet-Plus at 64x64, number by number: each class of a cell by itself, boxes cut to the canvas, then NMS."""
    cells = [(x * s, y * s, s) for s in (8, 16, 32, 64) for y in range(64 // s) for x in range(64 // s)]
    found = []
    for (x, y, stride), row in zip(cells, table.astype(float), strict=True):
        away = []
        for side in range(4):
            weights = np.exp(row[3 + 8 * side : 11 + 8 * side])
            away.append(stride * sum(i * w for i, w in enumerate(weights)) / weights.sum())
        box = [min(max(v, 0), 64) for v in (x - away[0], y - away[1], x + away[2], y + away[3])]
        found += [(row[c], ("cat", "dog", "bird")[c], box) for c in range(3) if row[c] >= score]
    kept: list[tuple[str, float, list[float]]] = []
    for chance, label, box in sorted(found, key=lambda row: -row[0]):
        if box[2] > box[0] and box[3] > box[1] and all(label != k or overlap(box, b) <= iou for k, _, b in kept):
            kept.append((label, chance, box))
    return kept


def overlap(a: list[float], b: list[float]) -> float:
    wide, high = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def test_boxes_are_cut_to_the_canvas_before_they_are_compared_and_a_cell_has_several_classes() -> None:
    """As NanoDet's own head reads what it says."""
    random = np.random.default_rng(4)
    table = np.concatenate((random.uniform(0, 1, (85, 3)), random.normal(0, 3, (85, 4 * BINS))), axis=1)
    table = table.astype(np.float32)
    card = ModelCard.model_validate(make_card(family="nanodet"))
    (boxes,) = Nanodet().decode([(table,)], [View.of(64, 64)], card, Limits(score=0.4, iou=0.3))
    wanted = plain_reading(table, score=0.4, iou=0.3)
    assert [("cat", "dog", "bird")[i] for i in boxes.class_id] == [label for label, _, _ in wanted]
    assert boxes.score == pytest.approx([score for _, score, _ in wanted])
    assert boxes.box == pytest.approx(np.array([box for _, _, box in wanted]), abs=1e-3)
    assert len({tuple(box) for box in boxes.box.tolist()}) < len(boxes)


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
