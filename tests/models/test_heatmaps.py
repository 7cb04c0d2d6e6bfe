"""Heatmaps: the peak, and finer than a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models import options_of
from cvpipe.models.heatmaps import Heatmaps
from tests.modelcards import make_card

SIZE = (192, 256)


def make_model(**options: Any) -> ModelCard:
    keypoints = ["head", "hand"]
    return ModelCard.model_validate(
        make_card(family="heatmaps", task="pose", labels=[], keypoints=keypoints, options=options)
    )


def bumps(*places: tuple[float, float], sigma: float = 2.0) -> np.ndarray:
    """(k, 64, 48): a Gaussian at each place, in cells."""
    y, x = np.mgrid[:64, :48]
    return np.stack([np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in places]).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "place", "expected"),
    [
        ({"refine": "none"}, (10.4, 20.3), (40, 80)),
        ({}, (10.4, 20.3), (41, 81)),
        ({}, (9.7, 19.6), (39, 79)),
        ({}, (10, 20), (40, 80)),
        ({}, (0, 30.4), (0, 120)),
        ({"refine": "dark"}, (10.4, 20.3), (41.6, 81.2)),
        ({"refine": "dark"}, (0.6, 20.3), (4, 80)),
        ({"refine": "none", "corners": True}, (47, 63), (191, 255)),
        ({"refine": "none", "corners": True}, (10, 20), (10 * 191 / 47, 20 * 255 / 63)),
    ],
    ids=[
        "peak", "quarter up", "quarter down", "even neighbours", "at an edge", "dark", "dark near an edge",
        "last cell, corners", "corners",
    ],
)  # fmt: skip
def test_a_peak_becomes_a_place(
    options: dict[str, Any], place: tuple[float, float], expected: tuple[float, float]
) -> None:
    (points,) = Heatmaps().decode([(bumps(place, (30, 40)),)], SIZE, make_model(**options))
    assert points.shape == (2, 3)
    assert points[0, :2] == pytest.approx(expected, abs=0.06)
    assert points[1, :2] == pytest.approx((30 * 191 / 47, 40 * 255 / 63) if options.get("corners") else (120, 160))


def test_the_score_is_the_height_of_the_peak() -> None:
    maps = bumps((10, 20), (30, 40)) * np.array([0.8, 1.3], np.float32)[:, None, None]
    (points,) = Heatmaps().decode([(maps,)], SIZE, make_model())
    assert points[:, 2] == pytest.approx([0.8, 1])


@pytest.mark.parametrize("refine", ["quarter", "dark", "none"])
def test_maps_without_a_peak_and_tiny_ones_are_somewhere(refine: str) -> None:
    card = make_model(refine=refine)
    (points,) = Heatmaps().decode([(np.zeros((2, 64, 48), np.float32),)], SIZE, card)
    assert points.tolist() == [[0, 0, 0]] * 2
    (points,) = Heatmaps().decode([(np.ones((2, 2, 2), np.float32),)], SIZE, card)
    assert points.tolist() == [[0, 0, 1]] * 2


@pytest.mark.parametrize("refine", ["quarter", "dark"])
def test_a_picture_is_read_the_same_in_any_company(refine: str) -> None:
    maps = np.random.default_rng(3).random((5, 2, 64, 48), np.float32)
    together = Heatmaps().decode([(row,) for row in maps], SIZE, make_model(refine=refine))
    alone = [Heatmaps().decode([(row,)], SIZE, make_model(refine=refine))[0] for row in maps]
    assert np.array_equal(together, np.stack(alone))


@pytest.mark.parametrize("shapes", [[(3, 64, 48)], [(64, 48)], [(2, 64, 48), (2, 64, 48)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"heatmaps with 2 keypoints has one output of shape \(2, h, w\)"):
        Heatmaps().check(shapes, make_model())
    Heatmaps().check([(2, 64, 48)], make_model())


def test_an_unknown_way_to_refine_is_told() -> None:
    with pytest.raises(InvalidModel, match=r"options\.refine"):
        options_of(Heatmaps(), make_model(refine="finer"))
