from __future__ import annotations

import numpy as np
import pytest

from cvpipe.colours import hex_of, lab_of, rgb_of


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_colours_of_srgb_are_where_the_standard_has_them(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    assert lab_of(rgb) == pytest.approx(lab, abs=0.02)


def test_many_colours_are_those_of_each() -> None:
    some = np.array([[10, 200, 30], [200, 10, 250]])
    assert np.array_equal(lab_of(some), np.array([lab_of(row) for row in some]))


def test_a_colour_written_out_reads_as_the_same() -> None:
    assert hex_of((200.4, 30, 7.6)) == "#c81e08"
    assert rgb_of("#c81e08") == (200, 30, 8)
