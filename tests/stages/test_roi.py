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


def test_corners_may_lie_on_the_edge_of_the_frame() -> None:
    whole = [[0, 0], [640, 0], [640, 360], [0, 360]]
    assert roi(polygons=[whole]).polygons == ((((0.0, 0.0), (640.0, 0.0), (640.0, 360.0), (0.0, 360.0)),))


def test_fractions_become_pixels() -> None:
    view = roi(polygons=[[[0, 0], [0.5, 0], [0, 0.5]]], unit="fraction")
    assert view.polygons == (((0.0, 0.0), (320.0, 0.0), (0.0, 180.0)),)


@pytest.mark.parametrize(
    ("view", "polygons", "message"),
    [
        (
            SOURCE,
            [TRIANGLE, [[600, 0], [641, 0], [600, 99]]],
            "polygon 2 has a corner at 641, 0, but the frame has 640x360",
        ),
        (SOURCE, [[[0, 0], [99, 0], [99, 360.5]]], "polygon 1 has a corner at 99, 360.5, but .* `unit: fraction`"),
        (SOURCE, [[[10, 10], [10, 20], [10, 30]]], "polygon 1 has no area: it shows nothing"),
        (SOURCE, [[[10, 10], [20, 30], [40, 70], [30, 50]]], "polygon 1 has no area: it shows nothing"),
        (roi(polygons=[TRIANGLE]), [TRIANGLE], "there is a `roi` before it"),
    ],
)
def test_polygons_that_do_not_fit_the_video_are_refused(view: View, polygons: Any, message: str) -> None:
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
