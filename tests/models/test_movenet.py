"""MoveNet for one person: y, x and score as shares of the canvas."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.movenet import Movenet
from tests.modelcards import make_card

CARD = ModelCard.model_validate(make_card(family="movenet", task="pose", labels=[], keypoints="coco"))


def test_shares_become_pixels_x_first() -> None:
    table = np.zeros((1, 17, 3), np.float32)
    table[0, 3] = [0.25, 0.75, 0.9]
    (points,) = Movenet().decode([(table,)], (192, 256), CARD)
    assert points[3] == pytest.approx([144, 64, 0.9])
    assert points.shape == (17, 3)


@pytest.mark.parametrize("shapes", [[(17, 3)], [(1, 16, 3)], [(6, 56)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"movenet with 17 keypoints has one output of shape \(1, 17, 3\)"):
        Movenet().check(shapes, CARD)
    Movenet().check([(1, 17, 3)], CARD)
