"""FastestDet: one grid, whose objectness and classes make a score together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.fastestdet import Fastestdet
from tests.modelcards import facts, is_near, make_card


def test_a_cell_becomes_a_box(see: Any) -> None:
    grid = np.zeros((8, 4, 8), np.float32)  # of 128x64 pixels, stride 16
    grid[:, 1, 2] = [0.9, 0, np.arctanh(0.5), 0, -np.log(3), 0.1, 0.8, 0]  # a half by a quarter of the canvas
    grid[:, 3, 7] = [0.9, 0, 0, 0, 0, 0.1, 0, 0.2]  # 0.9 ** 0.6 * 0.2 ** 0.4 is 0.493
    assert facts(see(grid, size=(128, 64), family="fastestdet")) == [
        ("dog", round(0.9**0.6 * 0.8**0.4, 4), [0, 32, 128, 64])
    ]


def test_the_trained_network_finds_what_it_found_before(look: Any) -> None:
    names = ["room 80", "room 240", "film 24", "film 96"]
    wanted = [
        [
            ("person", 0.89, [372.2, 12.9, 522.1, 385.4]),
            ("tv", 0.69, [0.0, 0.0, 112.5, 169.9]),
            ("dog", 0.66, [406.4, 310.8, 481.6, 391.6]),
        ],
        [("person", 0.93, [357.6, 29.3, 525.3, 411.9]), ("tv", 0.70, [0.0, 0.0, 111.6, 170.3])],
        [("person", 0.90, [183.3, 173.4, 363.4, 412.6]), ("person", 0.67, [345.5, 145.5, 437.5, 257.6])],
        [("person", 0.91, [248.1, 105.7, 557.6, 429.1])],
    ]
    for found, expected in zip(look("fastestdet", names, score_threshold=0.65), wanted, strict=True):
        assert is_near(found, expected)


@pytest.mark.parametrize("shapes", [[(85, 22, 22)], [(8, 22)], [(22, 22, 8)], [(8, 4, 4)] * 2, []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(family="fastestdet"))
    with pytest.raises(InvalidModel, match=r"3 labels has one output of shape \(8, rows, columns\)"):
        Fastestdet().check(shapes, card)
    Fastestdet().check([(8, 4, 4)], card)
