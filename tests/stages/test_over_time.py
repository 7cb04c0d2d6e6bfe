"""`scenes` and `motion_gate`: what changes from one frame to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.stages import make
from cvpipe.stages.motion_gate import MotionGateOptions
from cvpipe.stages.scenes import ScenesOptions

UPSTREAM = View.of(64, 48, format="rgb24")


def results(options: Any, pictures: list[np.ndarray], tmp_path: Path) -> list[Any]:
    stage: Any = make(options.model_copy(update={"name": "it"}))
    stage.open(OnnxTools(tmp_path, device="cpu"))
    view = stage.view(UPSTREAM)
    found = []
    for number, picture in enumerate(pictures):
        image = picture if view.format != "gray" else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        found += stage.process([Frame(number, number, number / 10, view, image)], [None])
    return found


def plain(blue: int, green: int, red: int) -> np.ndarray:
    return np.full((48, 64, 3), (blue, green, red), np.uint8)


def test_the_score_is_the_mean_difference_of_hue_saturation_and_value(tmp_path: Path) -> None:
    # BGR to HSV: red 0, 255, 255; green 60, 255, 255; dark red 0, 255, 100; a bluish red 178, 255, 255.
    pictures = [plain(0, 0, 255), plain(0, 255, 0), plain(0, 0, 255), plain(0, 0, 100), plain(17, 0, 255)]
    found = [f.values["it"] for f in results(ScenesOptions(threshold=50), pictures, tmp_path)]
    assert [f["score"] for f in found] == [None, 20.0, 20.0, 51.67, 52.33]  # 2 of hue, not 178: hue is an angle
    assert [f["cut"] for f in found] == [False, False, False, True, True]


def square(left: int) -> np.ndarray:
    picture = plain(50, 50, 50)
    picture[10:30, left : left + 20] = 220
    return picture


@pytest.mark.parametrize(
    ("hold", "skipped"),
    [
        pytest.param(0, [False, True, False, True, True, True, True], id="no hold"),
        pytest.param(2, [False, False, False, False, False, True, True], id="hold"),
    ],
)
def test_the_gate_is_open_on_motion_and_a_while_after(hold: int, skipped: list[bool], tmp_path: Path) -> None:
    pictures = [square(left) for left in (5, 5, 15, 15, 15, 15, 15)]
    found = results(MotionGateOptions(hold_frames=hold), pictures, tmp_path)
    assert [f.skip for f in found] == skipped
    assert [f.values["it"]["skipped"] for f in found] == skipped
    motion = [f.values["it"]["motion"] for f in found]
    assert motion[0] is None
    assert motion[2] == 0.210938  # 648 of 3072 pixels: 20 columns of 20 rows, and what the blur puts around them
    assert motion[3:] == [0.0] * 4


def test_noise_below_the_level_is_no_motion(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pictures = [np.clip(square(5) + random.normal(0, 6, (48, 64, 3)), 0, 255).astype(np.uint8) for _ in range(5)]
    assert [f.skip for f in results(MotionGateOptions(), pictures, tmp_path)] == [False, True, True, True, True]
