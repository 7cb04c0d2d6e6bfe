"""How much boxes overlap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
"""(n, 4): centre x, centre y, width, height in pixels."""


def from_corners(corners: npt.NDArray[np.floating]) -> Boxes:
    """Boxes from (n, 4) x1, y1, x2, y2."""
    boxes = np.empty((len(corners), 4))
    low, high = corners[:, :2].astype(np.float64), corners[:, 2:]
    boxes[:, :2] = (low + high) / 2
    boxes[:, 2:] = high - low
    return boxes


def iou(rows: Boxes, columns: Boxes, *, margin: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Intersection over union of each row box with each column box, (n, m); 0 where both are empty.

    margin: (n, 2) pixels in x and y by which row box i, and every box it is compared with, grow on each side first.
    """
    size_a, size_b = rows[:, None, 2:], columns[None, :, 2:]
    if margin is not None:
        size_a, size_b = size_a + 2 * margin[:, None], size_b + 2 * margin[:, None]
    apart = np.abs(rows[:, None, :2] - columns[None, :, :2])
    # Along one axis, intervals share half the sum of their lengths less the distance of their centres,
    # but never more than the shorter one.
    shared = np.minimum(np.minimum(size_a, size_b), (size_a + size_b) / 2 - apart)
    np.maximum(shared, 0, out=shared)
    both = shared[..., 0] * shared[..., 1]
    union = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - both
    ratio: npt.NDArray[np.float64] = both / np.maximum(union, 1e-12)
    return ratio
