"""`flow` on a texture that is moved, turned and grown by known amounts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.frames import Frame, View
from tests.stages.looking import open_stage, show

TEXTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (260, 340)).astype(np.uint8), (0, 0), 2)
TEXTURE = cv2.normalize(TEXTURE, None, 0, 255, cv2.NORM_MINMAX)


def seen(*, dx: float = 0, dy: float = 0, turn: float = 0, zoom: float = 1) -> np.ndarray:
    """The texture on 180x240, moved by so much about its middle; turned clockwise on the screen."""
    matrix = cv2.getRotationMatrix2D((170, 130), -turn, zoom)
    matrix[:, 2] += (dx - 50, dy - 40)
    return cv2.warpAffine(TEXTURE, matrix, (240, 180), flags=cv2.INTER_LINEAR)


def told(*pictures: np.ndarray, view: View | None = None, **options: Any) -> dict[str, Any]:
    value: dict[str, Any] = show(open_stage("flow", **options), pictures, view=view)[-1].values["flow"]
    return value


METHODS = pytest.mark.parametrize("method", ["dense", "sparse"])


@METHODS
@pytest.mark.parametrize(
    "motion",
    [
        pytest.param({"dx": 5.0, "dy": -3.0}, id="moved"),
        pytest.param({"turn": 2.0}, id="turned"),
        pytest.param({"zoom": 1.03}, id="grown"),
        pytest.param({"dx": -4.0, "turn": -1.0, "zoom": 0.98}, id="all at once"),
    ],
)
def test_the_cameras_motion_is_what_was_done_to_the_picture(method: str, motion: dict[str, float]) -> None:
    camera = told(seen(), seen(**motion), method=method)["camera"]
    expected = {"dx": 0.0, "dy": 0.0, "turn": 0.0, "zoom": 1.0} | motion
    assert camera["dx"] == pytest.approx(expected["dx"], abs=0.3)
    assert camera["dy"] == pytest.approx(expected["dy"], abs=0.3)
    assert camera["turn"] == pytest.approx(expected["turn"], abs=0.15)
    assert camera["zoom"] == pytest.approx(expected["zoom"], abs=0.004)
    assert camera["support"] > 0.85


@METHODS
def test_a_picture_that_stands_still_does_not_move(method: str) -> None:
    value = told(seen(), seen(), method=method)
    assert value["speed"] == pytest.approx(0, abs=0.02)
    assert value["moving"] == 0
    assert value["camera"] == {"dx": 0, "dy": 0, "turn": 0, "zoom": 1, "support": 1}


def test_what_moves_otherwise_than_the_camera_is_told_apart() -> None:
    first, second = seen(), seen(dx=3)
    patch = seen(dx=20, dy=20)[60:130, 90:170]
    first[60:130, 90:170] = patch
    second[66:136, 84:164] = patch  # to the left and down, against the camera
    value = told(first, second)
    assert value["camera"]["dx"] == pytest.approx(3, abs=0.3)
    assert value["own"] == pytest.approx(80 * 70 / (240 * 180), abs=0.06)
    assert value["moving"] > 0.95


def test_speeds_are_in_source_pixels() -> None:
    value = told(seen(), seen(dx=4), view=View.of(480, 360).resized(240, 180))
    assert value["speed"] == pytest.approx(8, abs=0.5)
    assert value["camera"]["dx"] == pytest.approx(8, abs=0.4)


def test_the_first_frame_says_nothing_and_a_plain_picture_nothing_of_the_camera() -> None:
    assert told(seen()) == {"speed": None, "moving": None, "camera": None, "own": None}
    plain = np.full((180, 240), 90, np.uint8)
    assert told(plain, plain, method="sparse") == {"speed": 0.0, "moving": 0.0, "camera": None, "own": None}


def test_a_map_shows_the_direction_as_hue() -> None:
    stage = open_stage("flow", maps={"every_seconds": 1})
    view = stage.view(View.of(240, 180))
    maps = []
    for number, picture in enumerate((seen(), seen(dx=8))):
        (found,) = stage.process([Frame(number, number, number / 25, view, picture, wants_map=True)], [None])
        maps.append(found.map)
    assert maps[0] is None
    hue, _, speed = cv2.cvtColor(maps[1], cv2.COLOR_BGR2HSV)[90, 120]
    assert min(hue, 180 - hue) <= 3  # to the right
    assert speed == pytest.approx(128, abs=8)  # 8 of 16 pixels
