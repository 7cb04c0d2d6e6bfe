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
        ({}, (1.4, 30.4), (4, 120)),
        ({}, (2.4, 30.4), (9, 121)),
        ({"refine": "dark"}, (10.4, 20.3), (41.6, 81.2)),
        ({"refine": "dark"}, (0.6, 20.3), (4, 80)),
        ({"refine": "none", "corners": True}, (47, 63), (191, 255)),
        ({"refine": "none", "corners": True}, (10, 20), (10 * 191 / 47, 20 * 255 / 63)),
        ({"refine": "dark", "corners": True}, (10.4, 20.3), (10.4 * 191 / 47, 20.3 * 255 / 63)),
    ],
    ids=[
        "peak", "quarter up", "quarter down", "even neighbours", "at an edge", "in the second column",
        "in the third column", "dark", "dark near an edge", "last cell, corners", "corners", "dark, corners",
    ],
)  # fmt: skip
def test_a_peak_becomes_a_place(
    options: dict[str, Any], place: tuple[float, float], expected: tuple[float, float]
) -> None:
    (points,) = Heatmaps().decode([(bumps(place, (30, 40)),)], SIZE, make_model(**options))
    assert points.shape == (2, 3)
    # Numbers of pixels, whose middles are half a pixel from where they begin.
    other = (30 * 191 / 47, 40 * 255 / 63) if options.get("corners") else (120, 160)
    assert points[0, :2] - 0.5 == pytest.approx(expected, abs=0.06)
    assert points[1, :2] - 0.5 == pytest.approx(other, abs=1e-3)


def plain_blur(grid: np.ndarray, taps: int) -> np.ndarray:
    """By a Gaussian of so many taps, with zeros beyond the edges, then as high as before."""
    sigma = 0.3 * ((taps - 1) / 2 - 1) + 0.8
    weights = np.exp(-(np.arange(-(taps // 2), taps // 2 + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    rows, columns = grid.shape
    blurred = np.zeros_like(grid, dtype=float)
    for y in range(rows):
        for x in range(columns):
            for dy, down in enumerate(weights, -(taps // 2)):
                for dx, across in enumerate(weights, -(taps // 2)):
                    if 0 <= y + dy < rows and 0 <= x + dx < columns:
                        blurred[y, x] += down * across * grid[y + dy, x + dx]
    return blurred * grid.max() / blurred.max()


def plain_dark(grid: np.ndarray, *, udp: bool) -> np.ndarray:
    """The place of a peak as MMPose has it: DARK, or what it calls DARK for UDP."""
    rows, columns = grid.shape
    y, x = np.unravel_index(grid.argmax(), grid.shape)
    logs = np.log(np.clip(plain_blur(grid, 11), *((1e-3, 50) if udp else (1e-10, np.inf))))

    def at(dx: int, dy: int) -> float:
        return float(logs[min(max(y + dy, 0), rows - 1), min(max(x + dx, 0), columns - 1)])

    slope = np.array([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)]) / 2
    if udp:
        xx, yy = at(1, 0) + at(-1, 0) - 2 * at(0, 0), at(0, 1) + at(0, -1) - 2 * at(0, 0)
        xy = (at(1, 1) + at(-1, -1) + 2 * at(0, 0) - at(1, 0) - at(-1, 0) - at(0, 1) - at(0, -1)) / 2
    elif not (1 < x < columns - 2 and 1 < y < rows - 2):
        return np.array([x, y], float)
    else:
        xx, yy = (at(2, 0) + at(-2, 0) - 2 * at(0, 0)) / 4, (at(0, 2) + at(0, -2) - 2 * at(0, 0)) / 4
        xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    return np.array([x, y]) - np.linalg.solve(np.array([[xx, xy], [xy, yy]]), slope)


@pytest.mark.parametrize("udp", [False, True], ids=["dark", "dark as udp has it"])
def test_dark_is_that_of_mmpose(udp: bool) -> None:
    """On uneven maps, near edges, and where what is smooth peaks elsewhere."""
    random = np.random.default_rng(8)
    maps = bumps((5.4, 9.3), (0.3, 11), (13.2, 1.6), (8, 8))[:, :20, :15] + 0.3 * bumps(*[(9, 7)] * 4)[:, :20, :15]
    maps = (maps + random.uniform(0, 0.1, maps.shape)).astype(np.float32)
    maps[3, 8, 11] = 1.6  # a lonely cell, three from the middle of the bump
    card = make_model(refine="dark", corners=udp).model_copy(update={"keypoints": ("a", "b", "c", "d")})
    (points,) = Heatmaps().decode([(maps,)], (60, 80), card)
    scale = np.array([59 / 14, 79 / 19]) if udp else np.array([4, 4])
    wanted = np.stack([plain_dark(grid, udp=udp) * scale + 0.5 for grid in maps.astype(float)])
    assert points[:, :2] == pytest.approx(wanted, abs=0.01)
    assert np.abs(wanted[3] - ((11, 8) * scale + 0.5)).max() > scale[0]


def test_the_score_is_the_height_of_the_peak() -> None:
    maps = bumps((10, 20), (30, 40)) * np.array([0.8, 1.3], np.float32)[:, None, None]
    (points,) = Heatmaps().decode([(maps,)], SIZE, make_model())
    assert points[:, 2] == pytest.approx([0.8, 1])


@pytest.mark.parametrize("refine", ["quarter", "dark", "none"])
def test_maps_without_a_peak_and_tiny_ones_are_somewhere(refine: str) -> None:
    card = make_model(refine=refine)
    (points,) = Heatmaps().decode([(np.zeros((2, 64, 48), np.float32),)], SIZE, card)
    assert points.tolist() == [[0.5, 0.5, 0]] * 2
    (points,) = Heatmaps().decode([(np.ones((2, 2, 2), np.float32),)], SIZE, card)
    assert points.tolist() == [[0.5, 0.5, 1]] * 2


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
