"""SimCC: a row for x, a row for y."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.simcc import Simcc
from tests.modelcards import make_card

CARD = ModelCard.model_validate(
    make_card(
        family="simcc", task="pose", labels=[], keypoints=["a", "b"], input={"width": 192, "height": 256}
    )
)  # fmt: skip


def make_rows(split: int, *peaks: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """simcc_x (k, 192 * split) and simcc_y (k, 256 * split); each peak: x, y in pixels, and how high in each row."""
    x = np.full((len(peaks), 192 * split), -0.5, np.float32)
    y = np.full((len(peaks), 256 * split), -0.5, np.float32)
    for row, (at_x, at_y, high_x, high_y) in enumerate(peaks):
        x[row, round(at_x * split)], y[row, round(at_y * split)] = high_x, high_y
    return x, y


@pytest.mark.parametrize("split", [2, 3])
def test_the_highest_places_are_the_keypoint_and_the_lower_one_its_score(split: int) -> None:
    rows = make_rows(split, (10, 20, 0.9, 0.7), (191, 255, 0.4, 1.2))
    (points,) = Simcc().decode([rows], (192, 256), CARD)
    # Numbers of pixels, whose middles are half a pixel from where they begin.
    assert points == pytest.approx(np.array([[10.5, 20.5, 0.7], [191.5, 255.5, 0.4]]), abs=1e-6)


def test_half_pixels_count() -> None:
    (points,) = Simcc().decode([make_rows(2, (10.5, 20.5, 1, 1), (0, 0, -0.1, 0.5))], (192, 256), CARD)
    assert points.tolist() == [[11, 21, 1], [0.5, 0.5, 0]]


@pytest.mark.parametrize(
    "shapes",
    [[(2, 384)], [(2, 384), (3, 512)], [(2, 512), (2, 384)], [(2, 384, 1), (2, 512, 1)], []],
    ids=["one output", "keypoints", "y first", "rank", "none"],
)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"shapes \(2, 384\) and \(2, 512\)"):
        Simcc().check(shapes, CARD)
    Simcc().check([(2, 384), (2, 512)], CARD)
    Simcc().check([(2, 576), (2, 768)], CARD)
