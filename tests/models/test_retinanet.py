"""RetinaNet: anchors as torchvision lays them, raw heads and chosen boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Limits, retinanet
from cvpipe.models.retinanet import Retinanet, RetinanetOptions
from tests.modelcards import facts, make_card

CARD = make_card(family="retinanet", input={"width": 96, "height": 64})
ANCHORS = 1161  # of 96x64: (12 * 8 + 6 * 4 + 3 * 2 + 2 * 1 + 1) * 9


def heads(found: dict[int, tuple[float, ...]], classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Logits and boxes; found: by anchor, class, chance and the four numbers of the box."""
    logits, moves = np.full((ANCHORS, classes), -9.0, np.float32), np.zeros((ANCHORS, 4), np.float32)
    for anchor, (class_id, chance, *numbers) in found.items():
        logits[anchor, int(class_id)] = np.log(chance / (1 - chance))
        moves[anchor] = numbers
    return logits, moves


def test_anchors_lie_where_torchvision_lays_them() -> None:
    anchors = retinanet._anchors(96, 64, RetinanetOptions())
    assert len(anchors) == ANCHORS
    # Recorded from torchvision's own generator of anchors for this canvas.
    assert anchors[[0, 1, 3, 8, 9, 1152, 1160]].tolist() == [
        [-23, -11, 23, 11],
        [-28, -14, 28, 14],
        [-16, -16, 16, 16],
        [-18, -35, 18, 35],
        [-15, -11, 31, 11],
        [-362, -181, 362, 181],
        [-287, -574, 287, 574],
    ]


def test_boxes_are_suppressed_as_they_lie_on_the_canvas() -> None:
    # Halves of one box: the first reaches as far beyond the canvas as the second lies on it.
    found = heads({3: (0, 0.9, 0, 0, 0, 0), 4: (0, 0.8, 0.2, 0.2, np.log(0.4), np.log(0.4))})
    (boxes,) = Retinanet().decode([found], [View.of(96, 64)], ModelCard.model_validate(CARD), Limits(0.5, 0.9))
    assert boxes.box.tolist() == [[0, 0, 16, 16]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["logits first", "boxes first"])
def test_raw_heads_become_boxes(see: Any, order: tuple[int, int]) -> None:
    row3 = (3 * 12 + 4) * 9  # the cell in row 3 and column 4 of stride 8: about 32, 24
    answers = heads(
        {
            row3 + 3: (1, 0.9, 0.25, -0.125, np.log(0.5), np.log(0.25)),
            row3 + 4: (1, 0.8, 0.2, -0.1, np.log(0.4), np.log(0.2)),  # the same, from an anchor of 40 pixels
            row3 + 12: (2, 0.7, 0, 0, -9, 99),
        }
    )
    found = see(*(answers[i] for i in order), size=(96, 64), family="retinanet")
    assert facts(found)[0] == ("dog", 0.9, [64, 32, 96, 48])
    assert [label for label, _, _ in facts(found)] == ["dog", "bird"]
    # Growth is cut at 1000 / 16: from row 24, 1000 pixels up and down.
    assert found.box[1, [1, 3]].tolist() == [0, 128]


def test_an_anchor_may_see_two_classes_and_background_none(see: Any) -> None:
    logits, moves = heads({3: (1, 0.9, 1, 1, 0, 0)}, classes=4)
    logits[3, [0, 3]] = 5, 2
    found = see(logits, moves, size=(96, 64), family="retinanet", options={"first_label": 1})
    assert [(label, score) for label, score, _ in facts(found)] == [("cat", 0.9), ("bird", 0.8808)]


def test_anchors_may_be_others(see: Any) -> None:
    options = {"strides": [32], "sizes": [[16]], "ratios": [1], "centre": "middle", "weights": [10, 10, 5, 5]}
    logits, moves = np.full((6, 3), -9, np.float32), np.zeros((6, 4), np.float32)
    logits[4, 0], moves[4] = 9, [5, 0, 5 * np.log(2), 0]
    found = see(logits, moves, size=(96, 64), family="retinanet", options=options)
    assert facts(found) == [("cat", 0.9999, [80, 80, 144, 112])]


def test_what_torchvision_chose_is_taken_as_it_is(see: Any) -> None:
    boxes = np.array([(8, 16, 36, 44), (8, 16, 36, 45), (1, 1, 2, 2)], np.float32)
    answers = (boxes, np.array([0.9, 0.8, 0.4], np.float32), np.array([18, 18, 1]))
    found = see(*answers, batched=False, family="retinanet", labels="coco91")
    assert facts(found) == [("dog", 0.9, [16, 32, 72, 88]), ("dog", 0.8, [16, 32, 72, 90])]


def test_the_shapes_of_torchvisions_heads_are_accepted() -> None:
    card = ModelCard.model_validate(make_card(family="retinanet", labels="coco91", input={"width": 320, "height": 320}))
    Retinanet().check([(19206, 91), (19206, 4)], card)  # recorded from retinanet_resnet50_fpn


@pytest.mark.parametrize("shapes", [[(1160, 3), (1160, 4)], [(1161, 5), (1161, 4)], [(1161, 7)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"3 labels at 96x64 has logits \(1161, 3\) and boxes \(1161, 4\)"):
        Retinanet().check(shapes, ModelCard.model_validate(CARD))


def test_each_stride_needs_its_sizes() -> None:
    card = ModelCard.model_validate(CARD | {"options": {"strides": [8, 16]}})
    with pytest.raises(InvalidModel, match="2 strides need as many lists of sizes, not 5") as caught:
        Retinanet().check([(1161, 3), (1161, 4)], card)
    assert caught.value.field == "options.sizes"
