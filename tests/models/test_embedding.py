"""Embeddings: vectors of length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.embedding import Embedding
from tests.modelcards import make_card


def make_model(**options: Any) -> ModelCard:
    return ModelCard.model_validate(make_card(family="embedding", task="embedding", labels=[], options=options))


@pytest.mark.parametrize(
    ("options", "output", "expected"),
    [
        ({}, [3, 4], [0.6, 0.8]),
        ({}, [[[3]], [[4]]], [0.6, 0.8]),
        ({}, [0, 0], [0, 0]),
        ({"pool": "first"}, [[3, 4], [9, 9]], [0.6, 0.8]),
        ({"pool": "mean"}, [[6, 0], [0, 8]], [0.6, 0.8]),
    ],
    ids=["vector", "1x1 map", "nothing", "first token", "mean of tokens"],
)
def test_an_output_becomes_a_vector_of_length_one(
    options: dict[str, Any], output: list[Any], expected: list[float]
) -> None:
    rows = np.array(output, np.float32)
    Embedding().check([rows.shape], make_model(**options))
    assert Embedding().decode([(rows,)] * 2, make_model(**options)) == pytest.approx(np.array([expected] * 2))


@pytest.mark.parametrize("shapes", [[(4, 4)], [()], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match="embedding has an output of shape"):
        Embedding().check(shapes, make_model())
