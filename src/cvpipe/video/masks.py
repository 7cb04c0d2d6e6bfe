"""Polygons as pixels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def fill(polygons: Iterable[npt.NDArray[np.floating]], width: int, height: int) -> npt.NDArray[np.bool_]:
    """Which pixels have their middle in at least one polygon: (height, width) bool.

    polygons: (k, 2) x, y of the corners, in pixels; pixel i reaches from i to i + 1. A polygon that crosses itself is
    filled where the number of its edges to the left is odd.
    """
    inside = np.zeros((height, width), bool)
    for corners in polygons:
        crossings = np.zeros((height, width + 1), np.int32)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y1 == y2:
                continue
            low, high = min(y1, y2), max(y1, y2)
            # Rows whose middle lies in low <= y < high, so that a corner counts for one of its two edges.
            rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))))
            x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
            crossings[rows, columns] += 1
        inside |= np.cumsum(crossings, axis=1)[:, :width] % 2 == 1
    return inside
