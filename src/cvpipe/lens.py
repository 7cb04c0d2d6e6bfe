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

    fx, fy: focal lengths. cx, cy: principal point. coefficients: k1, k2, p1, p2, k3.
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
        moved_x, moved_y = self._bend(x, y)
        return np.stack([moved_x * self.fx + self.cx, moved_y * self.fy + self.cy], axis=-1)

    def straighten(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Where recorded points (..., 2) lie in the straightened picture; the inverse of `distort`, by iteration."""
        to_x, to_y = self._normalised(points)
        x, y = to_x, to_y
        for _ in range(_ROUNDS):
            bent_x, bent_y = self._bend(x, y)
            x, y = x + to_x - bent_x, y + to_y - bent_y
        return np.stack([x * self.fx + self.cx, y * self.fy + self.cy], axis=-1)

    def _normalised(self, points: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        pairs = np.asarray(points, dtype=np.float64)
        return (pairs[..., 0] - self.cx) / self.fx, (pairs[..., 1] - self.cy) / self.fy

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
