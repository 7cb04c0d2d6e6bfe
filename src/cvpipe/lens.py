"""A lens that bends straight lines, and the way between what it recorded and what was there.

The model is Brown's (1966) with three radial and two tangential coefficients, in OpenCV's order and sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Lens:
    """A camera's calibration, in pixels of the displayed source frame.

    fx, fy: focal lengths. cx, cy: principal point, counted as OpenCV does, from the middle of the first pixel; all
    other points are counted from its corner. coefficients: k1, k2, p1, p2, k3.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    coefficients: tuple[float, float, float, float, float]

    def __post_init__(self) -> None:
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"focal lengths must be positive, got {self.fx}, {self.fy}")

    def distort(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Where the lens recorded points (..., 2) of the straightened picture."""
        x, y = self._normalised(points)
        return self._in_pixels(*self._bend(x, y))

    def straighten(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Where recorded points (..., 2) lie in the straightened picture; the inverse of `distort`, by Newton's method.

        Points that this lens can't have recorded come back somewhere, or as not a number.
        """
        to_x, to_y = self._normalised(points)
        x, y = to_x, to_y
        for _ in range(_ROUNDS):
            bent_x, bent_y = self._bend(x, y)
            miss_x, miss_y = bent_x - to_x, bent_y - to_y
            xx, xy, yy = self._slopes(x, y)
            determinant = xx * yy - xy * xy
            x, y = x - (miss_x * yy - miss_y * xy) / determinant, y - (miss_y * xx - miss_x * xy) / determinant
        return self._in_pixels(x, y)

    def _normalised(self, points: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        pairs = np.asarray(points, dtype=np.float64)
        return (pairs[..., 0] - 0.5 - self.cx) / self.fx, (pairs[..., 1] - 0.5 - self.cy) / self.fy

    def _in_pixels(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack([x * self.fx + self.cx + 0.5, y * self.fy + self.cy + 0.5], axis=-1)

    def _bend(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        k1, k2, p1, p2, k3 = self.coefficients
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _slopes(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """How `_bend` changes: x with x, x with y (as y with x), y with y."""
        k1, k2, p1, p2, k3 = self.coefficients
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        outward = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
        return (
            radial + x * x * outward + 2 * p1 * y + 6 * p2 * x,
            x * y * outward + 2 * p1 * x + 2 * p2 * y,
            radial + y * y * outward + 6 * p1 * y + 2 * p2 * x,
        )
