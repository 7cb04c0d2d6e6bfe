"""Detectors with queries: the layouts of four kinds of exporters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Limits
from cvpipe.models.detr import Detr
from tests.modelcards import facts, make_card

# Shapes without the batch dimension, from exports of randomly initialised networks: transformers 5 with two labels,
# Ultralytics 8.4.190 with 80.
EXPORTED: dict[str, tuple[int, list[tuple[int, ...]], dict[str, Any]]] = {
    "transformers RTDetr, RTDetrV2, DFine": (2, [(300, 2), (300, 4)], {}),
    "transformers Yolos": (2, [(100, 3), (100, 4)], {}),
    "Ultralytics rtdetr-l": (80, [(300, 6)], {}),
    "Ultralytics rtdetr-l, older": (80, [(300, 84)], {}),
    "RT-DETR, D-FINE, DEIM": (80, [(300,), (300, 4), (300,)], {}),
    "RF-DETR": (80, [(300, 4), (300, 81)], {"activation": "sigmoid"}),
}

WANTED = [("cat", 0.9, [32, 16, 96, 48]), ("cat", 0.8, [32, 16, 96, 48]), ("dog", 0.7, [0, 64, 64, 128])]
SHARES = np.array(
    [(0.5, 0.25, 0.5, 0.25), (0.5, 0.25, 0.5, 0.25), (0.25, 0.75, 0.5, 0.5), (0.5, 0.5, 1, 1)], np.float32
)


def logits(*rows: tuple[float, ...]) -> np.ndarray:
    """Whose sigmoids are these chances."""
    chances = np.array(rows, np.float32)
    return np.log(chances / (1 - chances))


SIGMOIDS = logits((0.9, 0.1, 0.1), (0.8, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.1, 0.4))
# Of cat, dog, bird and no object.
SOFTMAXES = np.log(
    np.array([(0.9, 0.02, 0.03, 0.05), (0.8, 0.1, 0.05, 0.05), (0.1, 0.7, 0.1, 0.1), (0.1, 0.1, 0.1, 0.7)], np.float32)
)


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ((SIGMOIDS, SHARES), {}),
        ((SOFTMAXES, SHARES), {}),
        (
            (SHARES, np.concatenate((SIGMOIDS, logits((0.9,), (0.9,), (0.9,), (0.9,))), axis=1)),
            {"activation": "sigmoid"},
        ),
        ((np.concatenate((SHARES, 1 / (1 + np.exp(-SIGMOIDS))), axis=1),), {}),
        ((np.concatenate((SHARES, [(0.9, 0), (0.8, 0), (0.7, 1), (0.4, 2)]), axis=1),), {}),
    ],
    ids=["transformers, sigmoid", "transformers, no object", "RF-DETR", "Ultralytics, older", "Ultralytics"],
)
def test_shares_of_the_canvas_become_source_pixels(see: Any, answers: tuple[Any, ...], options: dict[str, Any]) -> None:
    if options:  # four columns and four boxes' numbers look alike
        options = {**options, "boxes_first": True}
    found = see(*answers, family="detr", options=options)
    assert [(label, pytest.approx(score, abs=1e-4), box) for label, score, box in WANTED] == facts(found)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)], ids=str)
def test_networks_that_choose_are_fed_the_canvas_size(see: Any, order: tuple[int, ...]) -> None:
    box = np.array([(16, 8, 48, 24), (16, 8, 48, 24), (0, 32, 32, 64), (0, 0, 64, 64)], np.float32)
    answers = (np.array([0, 0, 1, 2]), box, np.array([0.9, 0.8, 0.7, 0.4], np.float32))
    found = see(*(answers[i] for i in order), family="detr", extra={"orig_target_sizes": "size_wh"})
    assert facts(found) == WANTED


def test_the_first_label_may_have_another_number(see: Any) -> None:
    box = np.array([(16, 8, 48, 24), (0, 32, 32, 64), (0, 0, 64, 64)], np.float32)
    answers = (np.array([1, 2, 0]), box, np.array([0.9, 0.7, 0.8], np.float32))
    assert facts(see(*answers, family="detr", options={"first_label": 1})) == [WANTED[0], WANTED[2]]


def test_a_query_may_see_two_classes_with_a_sigmoid_but_not_with_a_softmax() -> None:
    card, view, limits = ModelCard.model_validate(make_card(family="detr")), View.of(64, 64), Limits(0.3, 0.5)
    (two,) = Detr().decode([(logits((0.6, 0.1, 0.5)), SHARES[:1])], [view], card, limits)
    assert two.class_id.tolist() == [0, 2]
    softmax = np.log(np.array([(0.4, 0.1, 0.35, 0.15)], np.float32))
    (one,) = Detr().decode([(softmax, SHARES[:1])], [view], card, limits)
    assert one.class_id.tolist() == [0]
    assert one.score == pytest.approx([0.4])


def test_no_more_objects_than_asked_for(see: Any) -> None:
    found = see(SIGMOIDS, SHARES, family="detr", score_threshold=0.05, stage_options={"max_objects": 4})
    assert found.score == pytest.approx([0.9, 0.8, 0.7, 0.4])


@pytest.mark.parametrize(("labels", "shapes", "options"), EXPORTED.values(), ids=list(EXPORTED))
def test_what_exporters_write_is_accepted(labels: int, shapes: list[tuple[int, ...]], options: dict[str, Any]) -> None:
    names = [f"class {i}" for i in range(labels)]
    card = ModelCard.model_validate(make_card(family="detr", labels=names, options=options))
    Detr().check(shapes, card)


@pytest.mark.parametrize(
    "shapes", [[(300, 5), (300, 4)], [(300, 3), (200, 4)], [(300, 8)], [(300,), (300,), (300,)], []], ids=str
)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(family="detr"))
    with pytest.raises(
        InvalidModel, match=r"detr with 3 labels has labels \(k,\), boxes \(k, 4\) and scores \(k,\); or"
    ):
        Detr().check(shapes, card)
