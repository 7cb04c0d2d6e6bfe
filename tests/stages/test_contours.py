"""`contours` on drawn regions of known area and form."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.frames import View
from cvpipe.rle import Mask
from cvpipe.stages.contours import ContoursOptions
from tests.stages.looking import look_at


def regions(picture: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    return look_at("contours", picture, **options).to_dict()["objects"]


def scene() -> np.ndarray:
    """A bar of 50x20, a disc of radius 20, a speck of 3x3."""
    picture = np.full((100, 200), 50, np.uint8)
    picture[20:40, 30:80] = 200
    cv2.circle(picture, (140, 60), 20, 210, -1)
    picture[80:83, 20:23] = 220
    return picture


def test_regions_are_told_with_their_boxes_areas_and_forms_the_largest_first() -> None:
    disc, bar = regions(scene())
    assert [disc["box"], bar["box"]] == [[120, 40, 161, 81], [30, 20, 80, 40]]
    assert bar["label"] == "region"
    assert bar["values"]["contours"]["area"] == 1000
    assert bar["values"]["contours"]["perimeter"] == 2 * (49 + 19)
    assert bar["values"]["contours"]["polygon"] == [[30.5, 20.5], [30.5, 39.5], [79.5, 39.5], [79.5, 20.5]]
    assert bar["values"]["contours"]["solidity"] == 1
    assert bar["values"]["contours"]["circularity"] == pytest.approx(4 * np.pi * 49 * 19 / 136**2, abs=1e-4)
    assert disc["values"]["contours"]["area"] == (scene() == 210).sum()
    assert disc["values"]["contours"]["circularity"] > 0.85


def test_a_mask_is_the_regions_own_pixels() -> None:
    disc, _ = regions(scene())
    assert np.array_equal(Mask.from_dict(disc["mask"]).pixels(), scene() == 210)


def test_specks_are_left_out_by_area_or_opened_away_and_gaps_are_closed() -> None:
    picture = scene()
    picture[:, 55] = 50  # a gap of one pixel in the bar
    assert [round(r["values"]["contours"]["area"]) for r in regions(picture, min_area=5)] == [1257, 500, 480, 9]
    assert len(regions(picture, min_area=5, open=5)) == 3
    (_, bar) = regions(picture, close=3)
    assert bar["box"] == [30, 20, 80, 40]
    assert bar["values"]["contours"]["area"] == 998  # all but the ends of the gap, which the disc of 3 does not reach


def test_holes_stay_unless_they_are_filled() -> None:
    picture = np.zeros((60, 60), np.uint8)
    picture[10:50, 10:50] = 255
    picture[20:40, 20:40] = 0
    assert [r["values"]["contours"]["area"] for r in regions(picture)] == [1200]
    assert [r["values"]["contours"]["area"] for r in regions(picture, fill=True)] == [1600]


def test_dark_regions_are_taken_on_request() -> None:
    picture = np.full((60, 60), 220, np.uint8)
    picture[10:20, 10:30] = 20
    (region,) = regions(picture, invert=True, label="hole")
    assert (region["label"], region["box"]) == ("hole", [10, 10, 30, 20])


def test_everything_is_in_source_pixels() -> None:
    view = View.of(400, 200).resized(200, 100)
    _, bar = regions(scene(), view=view)
    assert bar["box"] == [60, 40, 160, 80]
    assert bar["values"]["contours"]["area"] == 4000
    pixels = Mask.from_dict(bar["mask"]).pixels()
    assert pixels.shape == (200, 400)
    assert (pixels.sum(), pixels[40:80, 60:160].all()) == (4000, True)


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="`max_area` must not be less than `min_area`"):
        ContoursOptions(min_area=10, max_area=9)
