"""Multi-label maps: a chance for each label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.multi_label_map import MultiLabelMap
from tests.modelcards import make_card


def make_model(labels: tuple[str, ...] = ("skin", "clothes", "hair"), **options: Any) -> ModelCard:
    return ModelCard.model_validate(
        make_card(family="multi-label-map", task="human-parsing", labels=labels, options=options)
    )


CHANCES = np.random.default_rng(0).random((3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("output", "options"),
    [
        (CHANCES, {}),
        (CHANCES.transpose(1, 2, 0), {}),
        (np.log(CHANCES / (1 - CHANCES)), {"activation": "sigmoid"}),
    ],
    ids=["nchw", "nhwc", "logits"],
)
def test_each_layout_says_the_same(output: np.ndarray, options: dict[str, Any]) -> None:
    card = make_model(**options)
    MultiLabelMap().check([output.shape], card)
    found = MultiLabelMap().decode([(output,)], (8, 4), card)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(CHANCES, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 4), (1, 2, 4), (2, 4, 1)], ids=str)
def test_one_label_may_come_without_its_dimension(shape: tuple[int, ...]) -> None:
    card = make_model(labels=("person",))
    MultiLabelMap().check([shape], card)
    assert np.array_equal(MultiLabelMap().decode([(CHANCES[0].reshape(shape),)], (8, 4), card), CHANCES[None, :1])


def test_logits_of_any_size_are_chances() -> None:
    card = make_model(labels=("person",), activation="sigmoid")
    found = MultiLabelMap().decode([(np.array([[-1e30, 1e30]], np.float32),)], (8, 4), card)
    assert found.ravel().tolist() == pytest.approx([0, 1])


@pytest.mark.parametrize("shapes", [[(2, 5, 4)], [(2, 4)], [(3,)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match="multi-label-map with 3 labels has an output of shape"):
        MultiLabelMap().check(shapes, make_model())
