"""The ground as a camera sees it: where a pixel lies on it, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.homography import Matrix, fit_homography
from cvpipe.geometry.least_squares import Vector
from cvpipe.geometry.marks import Marks, Points
from cvpipe.geometry.pose import Pose, ground_covariance, ground_matrix, lens_of, lens_parameters
from cvpipe.lens import Lens

ENTRIES: Final = 9
_STEP: Final = 1e-4
"""Of a lens's standard deviations: small enough for a slope, large enough for its digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where n pixels lie on the ground.

    position: (n, 2), metres. seen: (n,) bool, whether the pixel is ground at all; else it lies above the horizon, and
    all else about it means nothing.
    sensitivity: (n, 2, k), how the position changes with the k parameters of the calibration. One error of the
    calibration moves all positions: what is between two of them is surer than they are. noise: (n, 2, 2), covariance
    of the position because of the pixel alone, in square metres.
    """

    position: Points
    seen: npt.NDArray[np.bool_]
    sensitivity: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A plane before a camera.

    matrix: (3, 3), from metres on the ground to straightened pixels, of norm 1; ground before the camera has a
    positive third coordinate. covariance: (k, k), of its 9 entries, row by row; with k = 18 also of the lens's numbers
    (`pose.LENS_PARAMETERS`). lens: what bends the recorded picture, if anything does.
    """

    matrix: Matrix
    covariance: Matrix
    lens: Lens | None = None

    def __post_init__(self) -> None:
        if self.covariance.shape not in ((ENTRIES, ENTRIES), (2 * ENTRIES, 2 * ENTRIES)):
            raise ValueError(f"covariance: wanted (9, 9), or (18, 18) with a lens; got {self.covariance.shape}")

    @classmethod
    def from_marks(cls, marks: Marks) -> Ground:
        """The ground by the homography that fits the marks best. Raises: ValueError."""
        matrix, covariance, _ = fit_homography(marks)
        return cls(matrix, covariance)

    @classmethod
    def from_pose(cls, pose: Pose, lens: Lens, covariance: Matrix) -> Ground:
        """The ground before a camera; covariance: (15, 15), as `fit_pose` gives it."""
        matrix = ground_matrix(pose, lens)
        spread = ground_covariance(pose, lens, covariance)
        exact = not spread[ENTRIES:].any()
        return cls(matrix / np.linalg.norm(matrix), spread[:ENTRIES, :ENTRIES] if exact else spread, lens)

    def see(self, positions: Points) -> Points:
        """Pixels (n, 2), as recorded, of places on the ground (n, 2); as not a number what is behind the camera."""
        x, y = np.asarray(positions, np.float64).T
        rows = [row[0] * x + row[1] * y + row[2] for row in self.matrix]
        depth = np.where(rows[2] > 0, rows[2], np.nan)
        straight = np.stack([rows[0] / depth, rows[1] / depth], axis=-1)
        return straight if self.lens is None else self.lens.distort(straight)

    def locate(self, pixels: Points, deviation: Points) -> Located:
        """Where on the ground pixels lie.

        pixels: (n, 2), as recorded. deviation: (n, 2), standard deviations across and down, in pixels.
        """
        pixels = np.asarray(pixels, np.float64).reshape(-1, 2)
        straight = pixels if self.lens is None else self.lens.straighten(pixels)
        back = np.linalg.inv(self.matrix)
        u, v = straight.T
        rows = [row[0] * u + row[1] * v + row[2] for row in back]
        seen = np.isfinite(straight).all(axis=1) & (rows[2] > 0)
        weight = np.where(seen, rows[2], 1.0)
        x, y = np.where(seen, rows[0], 0.0) / weight, np.where(seen, rows[1], 0.0) / weight
        u, v = np.where(seen, u, 0.0), np.where(seen, v, 0.0)
        inverse, by_entry = _slopes(self.matrix, x, y, u, v)
        sensitivity = -_times(inverse, by_entry)
        noise_pixels = np.zeros((len(pixels), 2, 2))
        noise_pixels[:, [0, 1], [0, 1]] = np.asarray(deviation, np.float64) ** 2
        to_straight = inverse
        if self.lens is not None:
            to_straight = _times(inverse, _straightening(self.lens, pixels))
            if len(self.covariance) > ENTRIES:
                bending = _by_lens(self.lens, pixels, np.sqrt(np.diag(self.covariance)[ENTRIES:]))
                sensitivity = np.concatenate([sensitivity, _times(inverse, bending)], axis=2)
        noise = _times(_times(to_straight, noise_pixels), to_straight.transpose(0, 2, 1))
        return Located(np.stack([x, y], axis=-1), seen, np.nan_to_num(sensitivity), np.nan_to_num(noise))

    def covariance_of(self, located: Located) -> npt.NDArray[np.float64]:
        """(n, 2, 2): covariance of each position in square metres, by the calibration and by the pixel."""
        return spread_of(located.sensitivity, self.covariance) + located.noise


def spread_of(sensitivity: npt.NDArray[np.float64], covariance: Matrix) -> npt.NDArray[np.float64]:
    """(..., m, m): covariance of what changes with uncertain parameters by `sensitivity`, (..., m, k)."""
    return np.einsum("...ik,kl,...jl->...ij", sensitivity, covariance, sensitivity)


def _times(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, i, k) times (n, k, j)."""
    return np.einsum("nik,nkj->nij", left, right)


def _slopes(
    matrix: Matrix, x: Vector, y: Vector, u: Vector, v: Vector
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How ground moves with straightened pixels, (n, 2, 2), and how those move with the matrix's entries, (n, 2, 9)."""
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    a, b = (matrix[0, 0] - u * matrix[2, 0]) / depth, (matrix[0, 1] - u * matrix[2, 1]) / depth
    c, d = (matrix[1, 0] - v * matrix[2, 0]) / depth, (matrix[1, 1] - v * matrix[2, 1]) / depth
    determinant = a * d - b * c
    inverse = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2) / determinant[:, None, None]
    place = np.stack([x, y, np.ones_like(x)], axis=-1) / depth[:, None]
    nothing = np.zeros_like(place)
    across = np.concatenate([place, nothing, -u[:, None] * place], axis=1)
    down = np.concatenate([nothing, place, -v[:, None] * place], axis=1)
    return inverse, np.stack([across, down], axis=1)


def _straightening(lens: Lens, pixels: Points) -> npt.NDArray[np.float64]:
    """How straightened pixels move with recorded ones: (n, 2, 2)."""
    half = 0.01  # pixels
    steps = np.eye(2) * half
    columns = [(lens.straighten(pixels + step) - lens.straighten(pixels - step)) / (2 * half) for step in steps]
    return np.stack(columns, axis=-1)


def _by_lens(lens: Lens, pixels: Points, deviations: Vector) -> npt.NDArray[np.float64]:
    """How straightened pixels move with the lens's numbers: (n, 2, 9)."""
    numbers = lens_parameters(lens)
    slopes = np.zeros((len(pixels), 2, len(numbers)))
    for number in np.flatnonzero(deviations).tolist():
        step = np.zeros(len(numbers))
        step[number] = _STEP * deviations[number]
        ahead, behind = lens_of(numbers + step), lens_of(numbers - step)
        slopes[:, :, number] = (ahead.straighten(pixels) - behind.straighten(pixels)) / (2 * step[number])
    return slopes
