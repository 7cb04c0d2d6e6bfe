from __future__ import annotations

import numpy as np
import pytest

from cvpipe.tracking.overlap import from_corners, iou

SQUARE = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        pytest.param([0, 0, 10, 10], 1.0, id="itself"),
        pytest.param([5, 0, 15, 10], 1 / 3, id="half beside"),
        pytest.param([5, 5, 15, 15], 25 / 175, id="corner"),
        pytest.param([2, 2, 4, 4], 0.04, id="inside"),
        pytest.param([-10, -10, 20, 20], 1 / 9, id="around"),
        pytest.param([10, 0, 20, 10], 0.0, id="touching"),
        pytest.param([30, 30, 40, 40], 0.0, id="apart in both"),
        pytest.param([3, 3, 3, 3], 0.0, id="empty"),
    ],
)
def test_iou(other: list[float], wanted: float) -> None:
    found = iou(from_corners(np.array([SQUARE])), from_corners(np.array([other])))
    assert found == pytest.approx(np.array([[wanted]]))


def test_a_margin_makes_near_boxes_overlap() -> None:
    boxes = from_corners(np.array([SQUARE, [15, 0, 25, 10]], np.float32))
    found = iou(boxes[:1], boxes[1:], margin=np.array([[5.0, 0.0]]))
    assert found == pytest.approx(np.array([[50 / 350]]))  # 20 px wide each, 5 px shared


def test_no_boxes_have_no_overlaps() -> None:
    none = from_corners(np.zeros((0, 4), np.float32))
    assert iou(none, from_corners(np.array([SQUARE]))).shape == (0, 1)
