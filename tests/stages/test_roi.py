"""`roi`: polygons of the frame."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cvpipe.errors import InvalidRequest
from cvpipe.frames import View
from cvpipe.stages.roi import Roi, RoiOptions

SOURCE = View.of(640, 360)
TRIANGLE = [[0, 0], [320, 0], [0, 180]]


def roi(view: View = SOURCE, **options: Any) -> View:
    return Roi(RoiOptions(name="lane", **options)).reshape(view)


def test_polygons_are_in_source_pixels_and_the_size_stays() -> None:
    view = roi(SOURCE.resized(320, 180), polygons=[TRIANGLE], pad=0)
    assert view.polygons == (((0.0, 0.0), (320.0, 0.0), (0.0, 180.0)),)
    assert (view.width, view.height, view.region, view.pad) == (320, 180, (0, 0, 640, 360), 0)


def test_fractions_become_pixels() -> None:
    view = roi(polygons=[[[0, 0], [0.5, 0], [0, 0.5]]], unit="fraction")
    assert view.polygons == (((0.0, 0.0), (320.0, 0.0), (0.0, 180.0)),)


@pytest.mark.parametrize(
    ("view", "polygons", "message"),
    [
        (SOURCE, [TRIANGLE, [[700, 0], [800, 0], [700, 99]]], "polygon 1 shows nothing of the frame of 640x360"),
        (SOURCE, [[[10, 10], [10, 20], [10, 30]]], "polygon 0 shows nothing"),
        (roi(polygons=[TRIANGLE]), [TRIANGLE], "there is a `roi` before it"),
    ],
)
def test_polygons_that_show_nothing_are_refused_for_the_video(view: View, polygons: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        roi(view, polygons=polygons)
    assert caught.value.field == "lane"


@pytest.mark.parametrize(
    "options",
    [
        {"polygons": []},
        {"polygons": [[[0, 0], [1, 1]]]},
        {"polygons": [[[0, 0], [-5, 1], [3, 3]]]},
        {"polygons": [[[0, 0], [float("nan"), 1], [3, 3]]]},
        {"polygons": [TRIANGLE], "unit": "fraction"},
    ],
)
def test_what_is_no_polygon_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RoiOptions(**options)
