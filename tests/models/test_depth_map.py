"""Depth maps: relative or in metres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.depth_map import DepthMap
from tests.modelcards import make_card

MAP = np.arange(8, dtype=np.float32).reshape(2, 4)


def make_model(**options: Any) -> ModelCard:
    return ModelCard.model_validate(make_card(family="depth-map", task="depth", labels=[], options=options))


@pytest.mark.parametrize("shape", [(2, 4), (1, 2, 4), (2, 4, 1)], ids=str)
@pytest.mark.parametrize(
    ("options", "factor"), [({}, 1), ({"metric": True}, 1), ({"metric": True, "per_metre": 1000}, 0.001)], ids=str
)
def test_each_layout_says_the_same(shape: tuple[int, ...], options: dict[str, Any], factor: float) -> None:
    card = make_model(**options)
    DepthMap().check([shape], card)
    found = DepthMap().decode([(MAP.reshape(shape),)] * 2, (8, 4), card)
    assert found == pytest.approx(np.stack([MAP * factor] * 2))


@pytest.mark.parametrize("shapes", [[(3, 2, 4)], [(8,)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match="depth-map has an output of shape"):
        DepthMap().check(shapes, make_model())
