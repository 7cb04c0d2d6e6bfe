"""`undistort`: calibrations, for the size of the video."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.errors import InvalidPipeline, InvalidRequest
from cvpipe.frames import View
from cvpipe.stages.undistort import Undistort, UndistortOptions

SOURCE = View.of(1280, 720)
CALIBRATION = {"fx": 900, "fy": 900, "cx": 639.5, "cy": 359.5, "coefficients": [-0.3, 0.1]}


def undistort(view: View = SOURCE, **changes: Any) -> View:
    return Undistort(UndistortOptions(name="lens", **{**CALIBRATION, **changes})).reshape(view)


def test_points_go_to_where_the_lens_recorded_them_and_back() -> None:
    view = undistort()
    assert view.lens is not None
    assert view.lens.coefficients == (-0.3, 0.1, 0, 0, 0)
    assert view.to_source(np.array([640.0, 360.0])) == pytest.approx([640, 360])
    # r = 400 / 900: 400 x (1 - 0.3 r^2 + 0.1 r^4) = 377.857 from the middle
    assert view.to_source(np.array([1040.0, 360.0])) == pytest.approx([1017.857, 360], abs=0.01)
    assert view.from_source(np.array([1017.857, 360.0])) == pytest.approx([1040, 360], abs=0.01)


def test_a_calibration_of_another_size_is_scaled() -> None:
    view = undistort(View.of(640, 360), width=1280, height=720)
    assert view.to_source(np.array([520.0, 180.0])) == pytest.approx([508.93, 180], abs=0.01)


def test_a_box_comes_back_around_its_bent_outline() -> None:
    box = undistort().to_source(np.array([[40.0, 300.0, 1240.0, 420.0]]))[0]
    edge = undistort().to_source(np.array([[40.0, 300.0], [40.0, 360.0], [640.0, 300.0], [1240.0, 420.0]]))
    assert box[0] == pytest.approx(edge[1, 0], abs=0.1)  # the left edge bulges in the middle
    assert box[1] == pytest.approx(edge[2, 1], abs=0.1)


@pytest.mark.parametrize(
    ("view", "changes", "message"),
    [
        (SOURCE.cropped(0, 0, 640, 360), {}, "put it before `crop`"),
        (undistort(), {}, "straightens the whole frame once"),
        (SOURCE, {"coefficients": [-3.0]}, "points of the 1280x720 frame fall together"),
        (View.of(4096, 2160), {"coefficients": [-0.3]}, "fall together"),
    ],
    ids=["after a crop", "twice", "not a lens", "of a smaller picture"],
)
def test_a_lens_that_does_not_fit_the_video_is_refused(view: View, changes: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        undistort(view, **changes)
    assert caught.value.field == "lens"


@pytest.mark.parametrize(
    "changes",
    [
        {"fx": 0},
        {"fy": 1e-30},
        {"coefficients": []},
        {"coefficients": [0] * 6},
        {"coefficients": [float("nan")]},
        {"width": 640},
    ],
)
def test_what_is_no_calibration_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UndistortOptions(**{**CALIBRATION, **changes})


def test_a_camera_s_lens_is_that_of_its_numbers_at_any_size() -> None:
    lens = {name: CALIBRATION[name] for name in ("fx", "fy", "cx", "cy", "coefficients")}
    camera = {"width": 1280, "height": 720, "lens": lens}
    for size in ((1280, 720), (640, 360)):
        known = Undistort(UndistortOptions(name="lens", camera=camera)).reshape(View.of(*size))
        assert known.lens == undistort(View.of(*size), width=1280, height=720).lens


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"camera": "hall"}, "give `camera` or numbers of a lens, not both; got `fx` too"),
        ({"cy": None}, "`cy` is missing"),
        (dict.fromkeys(CALIBRATION) | {"width": 8, "height": 8}, "a camera has its own `width` and `height`"),
    ],
)
def test_a_lens_is_told_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        undistort(**changes)


def test_a_lens_that_is_not_known_is_told() -> None:
    with pytest.raises(InvalidPipeline, match="needs a camera whose `lens` is known"):
        Undistort(UndistortOptions(name="lens")).reshape(SOURCE)
