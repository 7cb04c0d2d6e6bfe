"""`tampering` on a scene whose camera is bumped, covered and put out of focus."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.frames import View
from tests.stages.looking import open_stage, show

WIDE = cv2.GaussianBlur(np.random.default_rng(8).integers(0, 256, (240, 320)).astype(np.uint8), (0, 0), 1.5)
WIDE = cv2.normalize(WIDE, None, 20, 230, cv2.NORM_MINMAX)


def scene(number: int, *, dx: int = 0, dy: int = 0) -> np.ndarray:
    """144x192 of a wide picture with noise; a camera that was turned shows it moved by dx, dy."""
    part = WIDE[40 - dy : 184 - dy, 60 - dx : 252 - dx].astype(np.float64)
    part += np.random.default_rng(number).normal(0, 3, part.shape)
    return np.clip(np.round(part), 0, 255).astype(np.uint8)


def told(pictures: list[np.ndarray], **options: Any) -> list[dict[str, Any]]:
    return [found.values["tampering"] for found in show(open_stage("tampering", **options), pictures)]


def test_a_camera_that_stands_still_is_not_tampered_with() -> None:
    values = told([scene(n) for n in range(25)])
    assert [value["learning"] for value in values] == [True] * 10 + [False] * 15
    for value in values[10:]:
        assert value["shift"] == pytest.approx([0, 0], abs=0.5)
        assert value["detail"] == pytest.approx(1, abs=0.1)
        assert value["tampered"] is False


def test_a_camera_that_was_bumped_has_moved_until_it_is_put_back() -> None:
    values = told([scene(n) for n in range(15)] + [scene(n, dx=14, dy=-9) for n in range(15, 30)] + [scene(30)])
    for value in values[15:30]:
        assert value["shift"] == pytest.approx([14, -9], abs=0.5)
        assert (value["moved"], value["covered"], value["tampered"]) == (True, False, True)
    assert values[30]["tampered"] is False


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda picture: cv2.GaussianBlur(picture, (0, 0), 5), id="out of focus"),
        pytest.param(lambda picture: np.full_like(picture, 12), id="covered"),
    ],
)
def test_a_camera_that_sees_no_detail_is_covered(spoil: Any) -> None:
    values = told([scene(n) for n in range(15)] + [spoil(scene(n)) for n in range(15, 20)])
    for value in values[15:]:
        assert value["detail"] < 0.4
        assert (value["moved"], value["covered"], value["tampered"]) == (False, True, True)


def test_shifts_are_in_source_pixels() -> None:
    view = View.of(384, 288).resized(192, 144)
    stage = open_stage("tampering")
    show(stage, [scene(n) for n in range(12)], view=view)
    (found,) = show(stage, [scene(12, dx=10)], view=view)
    assert found.values["tampering"]["shift"] == pytest.approx([20, 0], abs=1)


def test_what_is_known_can_be_handed_on() -> None:
    first, second = open_stage("tampering"), open_stage("tampering")
    show(first, [scene(n) for n in range(13)])
    second.restore({name: array.copy() for name, array in first.state().items()})
    pictures = [scene(n, dx=n % 3) for n in range(13, 17)]
    assert [f.values for f in show(second, pictures)] == [f.values for f in show(first, pictures)]
