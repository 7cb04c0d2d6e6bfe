"""Semantic maps: which class wins, in any layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.semantic_map import SemanticMap
from tests.modelcards import make_card

GRID = np.array([[0, 1, 2, 2], [1, 1, 0, 2]])


def make_model(task: str = "semantic-segmentation", **options: Any) -> ModelCard:
    return ModelCard.model_validate(make_card(family="semantic-map", task=task, options=options))


def logits() -> np.ndarray:
    """(3, 2, 4), highest where GRID says."""
    noise = np.random.default_rng(0).random((3, 2, 4), np.float32)
    noise[GRID, np.arange(2)[:, None], np.arange(4)] += 1
    return noise


@pytest.mark.parametrize(
    ("output", "options"),
    [
        (logits(), {}),
        (logits().transpose(1, 2, 0), {}),
        (logits().transpose(1, 2, 0), {"layout": "nhwc"}),
        (GRID.astype(np.float32), {}),
        (GRID[None], {}),
        (GRID[..., None].astype(np.int32), {}),
    ],
    ids=["nchw", "nhwc", "nhwc, told", "classes", "classes, 1 first", "classes, 1 last"],
)
def test_each_layout_says_the_same(output: np.ndarray, options: dict[str, Any]) -> None:
    card = make_model(**options)
    SemanticMap().check([output.shape], card)
    found = SemanticMap().decode([(output,), (output[::-1] if output.ndim == 2 else output,)], (8, 4), card)
    assert found.shape == (2, 2, 4)
    assert np.array_equal(found[0], GRID)


@pytest.mark.parametrize(
    ("shapes", "options", "expected"),
    [
        ([(3, 2, 4)], {}, (0, 0)),
        ([(2, 4, 3)], {}, (0, 2)),
        ([(7,), (2, 4, 3)], {"output": 1}, (1, 2)),
        ([(2, 4)], {}, None),
    ],
    ids=["nchw", "nhwc", "another output", "classes"],
)
def test_a_network_can_tell_the_highest_value_of_each_cell(
    shapes: list[tuple[int, ...]], options: dict[str, Any], expected: tuple[int, int] | None
) -> None:
    winners = SemanticMap().winners(shapes, make_model(**options))
    assert (None if winners is None else (winners.output, winners.axis)) == expected
    if winners is not None:
        told = make_model(**{**options, **winners.options})
        SemanticMap().check([(2, 4)], told)
        assert np.array_equal(SemanticMap().decode([(GRID.astype(np.uint8),)], (8, 4), told)[0], GRID)


def test_another_output_can_be_named() -> None:
    card = make_model(output=1)
    SemanticMap().check([(7,), (3, 2, 4)], card)
    found = SemanticMap().decode([(np.zeros(7, np.float32), logits())], (8, 4), card)
    assert np.array_equal(found[0], GRID)


@pytest.mark.parametrize(
    ("shapes", "options"),
    [([(4, 2, 4)], {}), ([(3,)], {}), ([], {}), ([(3, 2, 4)], {"layout": "nhwc"}), ([(3, 2, 4)], {"output": 1})],
    ids=["classes", "a vector", "nothing", "another layout", "another output"],
)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]], options: dict[str, Any]) -> None:
    with pytest.raises(InvalidModel, match=r"semantic-map with 3 labels has an output of shape \(3, h, w\)"):
        SemanticMap().check(shapes, make_model(**options))
