"""Polygons as pixels."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.video.masks import fill


def drawn(mask: np.ndarray) -> list[str]:
    return ["".join(".#"[value] for value in row) for row in mask.astype(int)]


@pytest.mark.parametrize(
    ("polygons", "expected"),
    [
        pytest.param([[(1, 1), (4, 1), (4, 3), (1, 3)]], ["......", ".###..", ".###..", "......"], id="square"),
        pytest.param([[(1.4, 1), (4.4, 1), (4.4, 3), (1.4, 3)]], ["......", ".###..", ".###..", "......"], id="parts"),
        pytest.param([[(1.6, 1), (4.6, 1), (4.6, 3), (1.6, 3)]], ["......", "..###.", "..###.", "......"], id="more"),
        pytest.param([[(0, 0), (4, 4), (0, 4)]], ["......", "#.....", "##....", "###..."], id="triangle"),
        pytest.param([[(-9, -9), (99, -9), (99, 2), (-9, 2)]], ["######", "######", "......", "......"], id="beyond"),
        pytest.param(
            [[(0, 0), (2, 0), (2, 4), (0, 4)], [(1, 0), (3, 0), (3, 1), (1, 1)]],
            ["###...", "##....", "##....", "##...."],
            id="two that overlap",
        ),
        pytest.param(
            [[(0, 0), (6, 0), (6, 4), (0, 4), (0, 0), (1, 1), (1, 3), (5, 3), (5, 1), (1, 1)]],
            ["######", "#....#", "#....#", "######"],
            id="with a hole",
        ),
        pytest.param([[(1, 1), (5, 1), (3, 1)]], ["......"] * 4, id="a line"),
    ],
)
def test_a_pixel_is_inside_where_its_middle_is(polygons: list, expected: list[str]) -> None:
    assert drawn(fill([np.array(p, float) for p in polygons], 6, 4)) == expected


def test_area_is_that_of_the_polygon() -> None:
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([200 + 150 * np.cos(angle), 180 + 150 * np.sin(angle)], axis=-1)
    assert fill([circle], 400, 360).sum() == pytest.approx(np.pi * 150**2, rel=0.002)
