"""`crop`: a part of the frame, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.errors import InvalidRequest
from cvpipe.frames import View
from cvpipe.stages.crop import Crop, CropOptions

SOURCE = View.of(1920, 1080)


def crop(view: View = SOURCE, **options: Any) -> View:
    return Crop(CropOptions(name="part", **options)).reshape(view)


@pytest.mark.parametrize(
    ("options", "region"),
    [
        ({"x": 100, "y": 50, "width": 640, "height": 360}, (100, 50, 640, 360)),
        ({"width": 1920, "height": 1080}, (0, 0, 1920, 1080)),
        ({"x": 0.5, "y": 0.25, "width": 0.5, "height": 0.5, "unit": "fraction"}, (960, 270, 960, 540)),
        ({"x": 0.9, "width": 0.1, "height": 1, "unit": "fraction"}, (1728, 0, 192, 1080)),
        ({"x": 0.9999, "width": 0.0001, "height": 1, "unit": "fraction"}, (1919, 0, 1, 1080)),
    ],
)
def test_regions(options: dict[str, Any], region: Any) -> None:
    view = crop(**options)
    assert view.region == region
    assert (view.width, view.height) == region[2:]


def test_pixels_are_those_of_the_source_whatever_was_done_before() -> None:
    view = crop(SOURCE.resized(960, 540), x=400, y=200, width=800, height=600)
    assert view.region == (400, 200, 800, 600)
    assert (view.width, view.height) == (400, 300)
    assert view.to_source(np.array([[0.0, 0.0, 400.0, 300.0]])).tolist() == [[400, 200, 1200, 800]]
    inner = crop(view, x=500, y=100, width=200, height=300)
    assert inner.region == (500, 200, 200, 200)


@pytest.mark.parametrize(
    ("view", "options", "message"),
    [
        (SOURCE, {"x": 1800, "width": 640, "height": 360}, "reaches to 2440, 360, but the frame has 1920x1080"),
        (SOURCE, {"y": 1080, "width": 1, "height": 1}, "reaches to 1, 1081"),
        (SOURCE.cropped(0, 0, 100, 100), {"x": 500, "width": 10, "height": 10}, "nothing is left to look at"),
    ],
)
def test_a_crop_outside_of_the_frame_says_which_stage_and_what_to_do(view: View, options: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        crop(view, **options)
    assert caught.value.field == "part"


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0, "height": 10},
        {"x": -1, "width": 10, "height": 10},
        {"width": 10.5, "height": 10},
        {"x": 0.6, "width": 0.5, "height": 1, "unit": "fraction"},
        {"width": 10, "height": 10, "unit": "fraction"},
    ],
)
def test_values_that_fit_no_frame_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CropOptions(**options)
