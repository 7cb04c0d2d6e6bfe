"""SSD: boxes and scores, priors, and what networks have chosen themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.ssd import Ssd
from tests.modelcards import facts, make_card

BOXES = np.array([(0.25, 0.125, 0.75, 0.375), (0.25, 0.125, 0.75, 0.38), (0, 0.5, 0.5, 1), (0, 0, 1, 1)], np.float32)
SCORES = np.array([(0.9, 0, 0), (0.8, 0, 0), (0, 0.7, 0.6), (0, 0, 0.4)], np.float32)
WANTED = [("cat", 0.9, [32, 16, 96, 48]), ("dog", 0.7, [0, 64, 64, 128]), ("bird", 0.6, [0, 64, 64, 128])]
BACKGROUND = np.full((4, 1), 0.99, np.float32)


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ((BOXES, SCORES), {}),
        ((SCORES, BOXES), {}),
        ((BOXES, np.concatenate((BACKGROUND, SCORES), axis=1)), {}),
        ((np.concatenate((BACKGROUND, SCORES), axis=1), BOXES), {"boxes_first": False}),
        ((BOXES, np.concatenate((SCORES, BACKGROUND), axis=1)), {"background": "last"}),
        ((BOXES * 64, SCORES), {"units": "pixels"}),
        ((BOXES[:, [1, 0, 3, 2]], SCORES), {"corners": "yxyx"}),
        (
            (BOXES, np.log(SCORES / (1 - SCORES), where=SCORES > 0, out=np.full((4, 3), -9.0))),
            {"activation": "sigmoid"},
        ),
    ],
    ids=["plain", "scores first", "background", "both", "background last", "pixels", "top left", "logits"],
)
def test_boxes_and_scores(see: Any, answers: tuple[np.ndarray, ...], options: dict[str, Any]) -> None:
    assert facts(see(*answers, family="ssd", options=options)) == WANTED


def test_softmax_is_over_the_background_too(see: Any) -> None:
    scores = np.log(np.array([(0.1, 0.85, 0.04, 0.01), (0.7, 0.1, 0.1, 0.1)] * 2, np.float32))
    found = see(BOXES, scores, family="ssd", options={"activation": "softmax"})
    assert facts(found) == [("cat", 0.85, [32, 16, 96, 48]), ("cat", 0.85, [0, 64, 64, 128])]


PRIORS = {"strides": [32, 64], "shapes": [[[16, 16], [32, 16]], [[64, 64]]]}  # 2 * 2 * 2 + 1


@pytest.mark.parametrize(
    ("numbers", "options"),
    [
        ((5, -2.5, 5 * np.log(0.5), 5 * np.log(2)), {}),
        ((-2.5, 5, 5 * np.log(2), 5 * np.log(0.5)), {"corners": "yxyx"}),
        ((2.5, -1.25, 2 * np.log(0.5), 2 * np.log(2)), {"variances": [0.2, 0.5]}),
    ],
    ids=["as they are", "top left", "other variances"],
)
def test_raw_boxes_move_priors(see: Any, numbers: tuple[float, ...], options: dict[str, Any]) -> None:
    moves, scores = np.zeros((9, 4), np.float32), np.zeros((9, 3), np.float32)
    moves[5], scores[5, 1] = numbers, 0.9  # the wide prior of the cell in row 1, column 0: about 16, 48
    scores[8, 2] = 0.8
    found = see(moves, scores, family="ssd", options={"priors": PRIORS, **options})
    assert facts(found) == [("dog", 0.9, [48, 56, 80, 120]), ("bird", 0.8, [0, 0, 128, 128])]


def test_tensorflow_tells_how_many_there_are(see: Any) -> None:
    boxes = np.zeros((100, 4), np.float32)
    boxes[:3] = [(0.125, 0.25, 0.375, 0.75), (0.125, 0.25, 0.375, 0.76), (0.5, 0, 1, 0.5)]
    scores, classes = np.zeros(100, np.float32), np.ones(100, np.float32)
    scores[:3], classes[:3] = (0.9, 0.8, 0.7), (18, 18, 1)
    wanted = [("dog", 0.9, [32, 16, 96, 48]), ("dog", 0.8, [32, 16, 97.28, 48]), ("person", 0.7, [0, 64, 64, 128])]
    count = np.float32(3)
    assert facts(see(boxes, classes, scores, count, family="ssd", labels="coco91")) == wanted
    assert facts(see(count, boxes, scores, classes, family="ssd", labels="coco91")) == wanted


def test_custom_classes_of_tensorflow_count_from_one(see: Any) -> None:
    boxes = np.array([(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)], np.float32)
    scores, classes = np.array([1, 1], np.float32), np.array([1, 3], np.float32)
    found = see(boxes, classes, scores, np.float32(2), family="ssd", options={"first_label": 1})
    assert facts(found) == [("cat", 1, [0, 0, 64, 64]), ("bird", 1, [64, 64, 128, 128])]


def test_chosen_boxes_without_a_number_of_them(see: Any) -> None:
    answers = (BOXES, np.array([0.9, 0.8, 0.7, 0.4], np.float32), np.array([1, 1, 2, 3]))
    found = see(*answers, batched=False, family="ssd", options={"first_label": 1})
    assert [label for label, _, _ in facts(found)] == ["cat", "cat", "dog"]


@pytest.mark.parametrize("shapes", [[(9, 4), (9, 5)], [(9, 4), (8, 3)], [(9, 4), (9,)], [(9, 7)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"ssd with 3 labels has boxes \(n, 4\) and scores \(n, 3 or 4\)"):
        Ssd().check(shapes, ModelCard.model_validate(make_card(family="ssd")))


@pytest.mark.parametrize(
    ("priors", "message", "field"),
    [
        (PRIORS, "there are 9 priors, the network has 8", "options.priors"),
        ({**PRIORS, "strides": [32]}, "1 strides need as many lists of shapes, not 2", "options.priors.shapes"),
    ],
    ids=["another number", "other strides"],
)
def test_priors_must_fit(priors: dict[str, Any], message: str, field: str) -> None:
    card = ModelCard.model_validate(make_card(family="ssd", options={"priors": priors}))
    with pytest.raises(InvalidModel, match=message) as caught:
        Ssd().check([(8, 4), (8, 3)], card)
    assert caught.value.field == field
