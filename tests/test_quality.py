"""Quality: the formula of the module's docstring, on numbers and pictures that can be worked out."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.quality import merit, sharpness
from cvpipe.results import Objects

FRAME = (640, 480)
FACE = [[10, 10, 1.0], [30, 10, 1.0], [20, 20, 1.0], [12, 30, 1.0], [28, 30, 1.0]]


def make_objects(box: list[float], *, score: float = 1.0, points: Any = None) -> Objects:
    return Objects.make(stage="s", box=[box], score=[score], label=["x"], keypoints=[points])


def shifted(nose: float) -> list[list[float]]:
    return [*FACE[:2], [nose, 20, 1.0], *FACE[3:]]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param(make_objects([10, 10, 266, 266]), 1.0, id="large enough"),
        pytest.param(make_objects([10, 10, 600, 400]), 1.0, id="larger does not count"),
        pytest.param(make_objects([10, 10, 74, 74]), 0.25, id="a quarter of 256 pixels"),
        pytest.param(make_objects([10, 10, 26, 266]), 0.25, id="by area: 16 x 256"),
        pytest.param(make_objects([10, 10, 266, 266], score=0.5), 0.5, id="confidence"),
        pytest.param(make_objects([0, 10, 256, 266]), 0.5, id="cut off on the left"),
        pytest.param(make_objects([384, 10, 640, 266]), 0.5, id="cut off on the right"),
        pytest.param(make_objects([10, 224, 266, 480]), 0.5, id="cut off below"),
        pytest.param(make_objects([10, 10, 266, 266], points=[[1, 1, 1.0], [2, 2, 0.5]]), 0.75, id="keypoints"),
        pytest.param(make_objects([10, 10, 266, 266], points=FACE), 1.0, id="a face from the front"),
        pytest.param(make_objects([10, 10, 266, 266], points=shifted(15)), 5 / 15, id="a face that looks aside"),
        pytest.param(make_objects([10, 10, 266, 266], points=shifted(5)), 0.0, id="a face in profile"),
        pytest.param(make_objects([10, 10, 10, 10]), 0.0, id="no area"),
    ],
)
def test_merit_is_a_product_of_what_the_record_says(objects: Objects, expected: float) -> None:
    assert merit(objects, 0, FRAME) == pytest.approx(expected, abs=1e-6)


def test_sharpness_follows_from_the_variance_of_the_laplacian() -> None:
    board = np.zeros((64, 64), np.uint8)
    board[(np.indices((64, 64)).sum(axis=0) // 8) % 2 == 1] = 40
    picture = np.repeat(board[..., None], 3, axis=2)
    # Plain NumPy: the border mirrors about the outermost pixel, as OpenCV's default does.
    wide = np.pad(board.astype(np.float64), 1, mode="reflect")
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * wide[1:-1, 1:-1]
    variance = laplacian.var()
    assert sharpness(picture, cv2) == pytest.approx(variance / (variance + 150), rel=1e-9)


def test_a_blurred_picture_is_less_sharp_and_an_even_one_not_at_all() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (100, 80, 3), np.uint8)
    values = [sharpness(cv2.GaussianBlur(noise, (0, 0), sigma) if sigma else noise, cv2) for sigma in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert sharpness(np.full((50, 50, 3), 90, np.uint8), cv2) == 0


def test_near_and_far_compare() -> None:
    rng = np.random.default_rng(1)
    far = cv2.resize(rng.integers(0, 255, (16, 16, 3), np.uint8), (128, 128), interpolation=cv2.INTER_NEAREST)
    near = cv2.resize(far, (512, 512), interpolation=cv2.INTER_NEAREST)
    assert sharpness(near, cv2) == pytest.approx(sharpness(far, cv2), rel=1e-9)
