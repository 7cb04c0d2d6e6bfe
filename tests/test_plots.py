from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

from cvpipe.plots import Plot, colour_of
from cvpipe.png import decode_png

RED = (255, 0, 0)


def pixels(plot: Plot) -> np.ndarray:
    return decode_png(plot.to_png(), max_pixels=1_000_000)


def test_a_line_covers_its_pixels_and_no_others() -> None:
    plot = Plot(40, 20, (0, 0, 0))
    plot.line([[10, 10], [30, 10]], RED, width=4)
    image = pixels(plot)
    assert (image[8:12, 10:30] == RED).all()
    assert not image[:7].any()
    assert not image[:, 33:].any()
    assert image[:, :, 0].sum() / 255 == pytest.approx(4 * 20 + np.pi * 4, rel=0.05)  # its ends are round


def test_half_a_pixel_is_half_as_bright_and_opacity_mixes() -> None:
    plot = Plot(20, 20, (0, 0, 100))
    plot.line([[5, 10.5], [15, 10.5]], RED, width=2, opacity=0.5)
    image = pixels(plot)
    assert tuple(image[10, 10]) == (128, 0, 50)
    assert tuple(image[9, 10]) == tuple(image[11, 10]) == (64, 0, 75)


def test_dots_and_ellipses_are_as_large_as_said() -> None:
    plot = Plot(100, 100, (0, 0, 0))
    plot.dot(50, 50, RED, radius=10)
    assert pixels(plot)[:, :, 0].sum() / 255 == pytest.approx(np.pi * 100, rel=0.02)
    plot = Plot(100, 100, (0, 0, 0))
    plot.ellipse(50, 50, np.array([[100.0, 0], [0, 25.0]]), RED)
    y, x = np.nonzero(pixels(plot)[:, :, 0] > 200)
    assert (x.min(), x.max(), y.min(), y.max()) == (30, 69, 40, 59)


def test_numbers_are_read_as_they_were_put() -> None:
    plot = Plot(60, 30, (0, 0, 0))
    plot.number(17, 30, 15, RED, height=20)
    assert [text.text for text in ET.fromstring(plot.to_svg()).iter("{http://www.w3.org/2000/svg}text")] == ["17"]
    image = pixels(plot)[:, :, 0] > 100
    assert image[6:24].any(axis=1).all()
    assert not image[:3].any()
    columns = np.flatnonzero(image.any(axis=0))
    assert 24 <= columns.min() < columns.max() <= 45  # a one has its line on the right


def test_what_is_off_the_picture_is_left_out() -> None:
    plot = Plot(10, 10, (1, 2, 3))
    plot.line([[-50, -50], [-20, -20]], RED)
    plot.line(np.zeros((0, 2)), RED)
    assert (pixels(plot) == (1, 2, 3)).all()
    assert "polyline" in plot.to_svg()


def test_neighbours_have_different_colours() -> None:
    colours = [np.array(colour_of(n)) for n in range(1, 30)]
    assert min(np.abs(a - b).sum() for a, b in pairwise(colours)) > 150
