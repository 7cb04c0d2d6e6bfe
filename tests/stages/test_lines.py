"""`lines` on drawn lines."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.frames import View
from tests.stages.looking import look_at

SIZE = (240, 320)


def lines_of(picture: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    return look_at("lines", picture, **options).to_dict()["objects"]


def drawn(*ends: tuple[int, int, int, int]) -> np.ndarray:
    """Bright lines, three pixels wide, on black."""
    picture = np.zeros(SIZE, np.uint8)
    for x1, y1, x2, y2 in ends:
        cv2.line(picture, (x1, y1), (x2, y2), 255, 3)
    return picture


@pytest.mark.parametrize("method", ["probabilistic", "lsd"])
@pytest.mark.parametrize(
    ("ends", "angle", "length"),
    [
        pytest.param((40, 60, 240, 60), 0, 200, id="level"),
        pytest.param((100, 20, 100, 200), 90, 180, id="upright"),
        pytest.param((40, 40, 190, 190), 45, 212.13, id="falling to the right"),
        pytest.param((40, 190, 190, 40), 135, 212.13, id="rising to the right"),
    ],
)
def test_a_drawn_segment_is_found_on_both_its_sides(
    method: str, ends: tuple[int, int, int, int], angle: float, length: float
) -> None:
    found = lines_of(drawn(ends), method=method, min_length=100)
    assert len(found) >= 2
    for line in found[:2]:
        turned = (line["values"]["lines"]["angle"] - angle + 90) % 180 - 90
        assert abs(turned) < 1.5
        assert line["values"]["lines"]["length"] == pytest.approx(length, abs=8)
        assert line["score"] > 0.95
        (x1, y1, _), (x2, y2, _) = line["keypoints"]
        assert line["box"] == [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
        nearest = np.abs(np.sort([x1, x2]) - np.sort([ends[0], ends[2]]))
        assert nearest.max() < 6


def test_a_line_of_the_hough_transform_goes_through_the_whole_picture() -> None:
    picture = np.zeros(SIZE, np.uint8)
    picture[:, 160:] = 255
    (line,) = lines_of(picture, method="hough", votes=150)
    # Canny takes the column at the left of the step, whose middle is at 159.5.
    assert line["box"] == [159.5, 0, 159.5, 240]
    assert line["values"]["lines"] == {"angle": 90.0, "length": 240.0}
    assert line["score"] == 1


def test_a_line_that_hangs_on_few_edges_has_a_low_score() -> None:
    picture = drawn((0, 120, 110, 120))
    found = lines_of(picture, method="hough", votes=90)
    assert {round(line["values"]["lines"]["length"]) for line in found} == {320}
    assert all(0.3 < line["score"] < 0.45 for line in found)


def test_end_points_are_in_source_pixels_and_padding_has_no_lines() -> None:
    view = View.of(640, 480).resized(320, 320, mode="letterbox", pad=255)
    assert view.content == (0, 40, 320, 240)
    canvas = np.full((320, 320), 255, np.uint8)
    canvas[40:280] = drawn((40, 60, 240, 60))
    found = lines_of(canvas, view=view, min_length=100, high=400)
    assert len(found) == 2
    for line in found:
        (x1, y1, _), (x2, y2, _) = line["keypoints"]
        assert [min(x1, x2), max(x1, x2)] == pytest.approx([80, 480], abs=8)
        assert [y1, y2] == pytest.approx([121, 121], abs=7)  # the sides of a line of six pixels


def test_only_the_longest_are_told() -> None:
    found = lines_of(drawn((40, 60, 240, 60), (40, 120, 140, 120)), max_lines=2)
    assert [line["values"]["lines"]["length"] > 180 for line in found] == [True, True]


def test_a_plain_picture_has_no_lines() -> None:
    for method in ("hough", "probabilistic", "lsd"):
        assert lines_of(np.full(SIZE, 90, np.uint8), method=method) == []
