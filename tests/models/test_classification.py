"""Classification: logits to scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.classification import Classification
from tests.modelcards import make_card


def make_model(labels: tuple[str, ...] = ("cat", "dog", "bird"), **options: Any) -> ModelCard:
    return ModelCard.model_validate(
        make_card(family="classification", task="classification", labels=labels, options=options)
    )


@pytest.mark.parametrize(
    ("options", "numbers", "expected"),
    [
        ({}, [1000.0, 1000.0, -1000.0], [0.5, 0.5, 0]),
        ({}, [0.0, np.log(2), 0.0], [0.25, 0.5, 0.25]),
        ({"activation": "sigmoid"}, [0.0, 1000.0, -1000.0], [0.5, 1, 0]),
        ({"activation": "none"}, [0.1, 0.9, 1.5], [0.1, 0.9, 1]),
        ({"activation": "none"}, [np.nan, 0.9, 0.5], [0, 0.9, 0.5]),
    ],
    ids=["large logits", "softmax", "sigmoid", "scores", "no number"],
)
@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3)], ids=str)
def test_numbers_become_scores(
    options: dict[str, Any], numbers: list[float], expected: list[float], shape: tuple[int, ...]
) -> None:
    output = np.array(numbers, np.float32).reshape(shape)
    card = make_model(**options)
    Classification().check([shape], card)
    assert Classification().decode([(output,)] * 2, card) == pytest.approx(np.array([expected] * 2))


def test_labels_may_be_left_out() -> None:
    Classification().check([(1000,)], make_model(labels=()))


@pytest.mark.parametrize("shapes", [[(4,)], [(3, 3)], [()], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"classification with 3 labels has an output of shape \(3,\)"):
        Classification().check(shapes, make_model())
