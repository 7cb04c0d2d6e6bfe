"""Lenses: the way to the recorded picture and back, as OpenCV has it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.lens import Lens

BARREL = Lens(fx=900, fy=880, cx=640.25, cy=350.5, coefficients=(-0.32, 0.12, 0.001, -0.002, -0.02))
PINCUSHION = Lens(fx=900, fy=900, cx=640, cy=360, coefficients=(0.2, 0.05, -0.001, 0.001, 0.01))
GRID = np.stack(np.meshgrid(np.linspace(0, 1280, 17), np.linspace(0, 720, 9)), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION], ids=["barrel", "pincushion"])
def test_points_are_where_opencv_says(lens: Lens) -> None:
    camera = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    straight = GRID - 0.5  # OpenCV counts from the middle of the first pixel
    rays = np.concatenate([(straight - (lens.cx, lens.cy)) / (lens.fx, lens.fy), np.ones((len(straight), 1))], axis=1)
    bent, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera, np.array(lens.coefficients))
    assert lens.distort(GRID) == pytest.approx(bent[:, 0] + 0.5, abs=1e-6)


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION], ids=["barrel", "pincushion"])
def test_straightening_undoes_the_lens(lens: Lens) -> None:
    assert np.abs(lens.distort(GRID) - GRID).max() > 20
    assert lens.straighten(lens.distort(GRID)) == pytest.approx(GRID, abs=1e-6)


def test_the_principal_point_stays_where_it_is() -> None:
    middle = np.array([640.75, 351.0])  # the middle of a pixel lies half a pixel from its corner
    assert BARREL.distort(middle) == pytest.approx(middle)


def test_a_lens_without_focal_length_is_refused() -> None:
    with pytest.raises(ValueError, match="focal lengths must be positive"):
        Lens(fx=0, fy=1, cx=0, cy=0, coefficients=(0, 0, 0, 0, 0))
