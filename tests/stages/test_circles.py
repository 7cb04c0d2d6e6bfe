"""`circles` on drawn discs and rings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.frames import View
from tests.stages.looking import look_at


def scene() -> np.ndarray:
    """A disc, a darker one, a square."""
    picture = np.zeros((240, 320), np.uint8)
    cv2.circle(picture, (100, 120), 40, 255, -1, cv2.LINE_AA)
    cv2.circle(picture, (220, 100), 25, 180, -1, cv2.LINE_AA)
    picture[180:220, 240:280] = 255
    return picture


def test_discs_are_found_with_their_middles_and_radii_and_a_square_is_not() -> None:
    found = look_at("circles", scene()).to_dict()["objects"]
    found.sort(key=lambda circle: circle["box"][0])
    assert [circle["keypoints"][0][:2] for circle in found] == [
        [pytest.approx(100.5, abs=1), pytest.approx(120.5, abs=1)],
        [pytest.approx(220.5, abs=1), pytest.approx(100.5, abs=1)],
    ]
    assert [circle["values"]["circles"]["radius"] for circle in found] == pytest.approx([40, 25], abs=1.2)
    assert [circle["box"] for circle in found] == [
        pytest.approx([60.5, 80.5, 140.5, 160.5], abs=2), pytest.approx([195.5, 75.5, 245.5, 125.5], abs=2),
    ]  # fmt: skip
    assert all(circle["score"] > 0.9 for circle in found)


def test_radii_are_in_source_pixels() -> None:
    view = View.of(640, 480).resized(320, 240)
    found = look_at("circles", scene(), view=view, min_radius=30).to_dict()["objects"]
    assert [circle["values"]["circles"]["radius"] for circle in found] == pytest.approx([80], abs=2.4)
    assert found[0]["box"] == pytest.approx([121, 161, 281, 321], abs=4)


def test_radii_outside_of_the_limits_are_left_out() -> None:
    found = look_at("circles", scene(), max_radius=30).to_dict()["objects"]
    assert [round(circle["values"]["circles"]["radius"]) for circle in found] == [26]


def test_a_circle_that_is_seen_in_part_has_as_much_of_a_score() -> None:
    picture = scene()
    picture[:, :80] = 0  # a third of the larger disc's outline
    (part,) = look_at("circles", picture, min_radius=35, roundness=0.3).to_dict()["objects"]
    assert part["values"]["circles"]["radius"] == pytest.approx(40, abs=1)
    assert part["score"] == pytest.approx(2 / 3, abs=0.03)
