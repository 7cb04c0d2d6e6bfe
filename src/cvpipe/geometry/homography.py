"""How a plane looks in a picture: the homography from points of the ground to pixels, found from marks.

First the direct linear transform of what is normalised (Hartley, In Defense of the Eight-Point Algorithm, 1997), then
the least squares of the distances in pixels (Hartley and Zisserman, Multiple View Geometry, 2004, chapter 4 and 5.2).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.least_squares import Fit, Vector, fit
from cvpipe.geometry.marks import Marks, Points

Matrix = npt.NDArray[np.float64]

_FEWEST_EQUATIONS: Final = 8
_LEAST_CONDITION: Final = 1e-7


def apply(matrix: Matrix, points: Points) -> Points:
    """Points (n, 2) after a homography (3, 3)."""
    x, y = points[..., 0], points[..., 1]
    rows = [row[0] * x + row[1] * y + row[2] for row in matrix]
    return np.stack([rows[0] / rows[2], rows[1] / rows[2]], axis=-1)


def fit_homography(marks: Marks) -> tuple[Matrix, Matrix, Fit]:
    """The homography from the ground to pixels, (3, 3) of norm 1; the covariance (9, 9) of its entries; the fit.

    Ground before the camera has a positive third coordinate behind it.
    Raises: ValueError where the marks do not determine it.
    """
    if not marks.is_flat:
        raise ValueError("points above the ground need a lens: give its focal length")
    linear, to_pixels, to_ground = _direct(marks)
    start = linear.ravel() / np.linalg.norm(linear)
    # The 8 directions in which 9 entries of norm 1 can move.
    moves = np.linalg.svd(start[None])[2][1:].T

    def residuals(step: Vector) -> Vector:
        return misses(to_pixels @ (start + moves @ step).reshape(3, 3) @ to_ground, marks)

    found = fit(residuals, np.zeros(8))
    entries = np.kron(to_pixels, to_ground.T)  # of the matrix in pixels and metres, from those of the normalised one
    free = start + moves @ found.parameters
    flat = entries @ free
    sign = _facing(flat.reshape(3, 3), marks)
    length = sign * np.linalg.norm(flat)
    unit = flat / length
    spread = (np.eye(9) - np.outer(unit, unit)) @ entries @ moves / length
    return unit.reshape(3, 3), spread @ found.covariance() @ spread.T, found


def misses(matrix: Matrix, marks: Marks) -> Vector:
    """Distances between marks and where a homography sees them, in standard deviations: (2 n + m,)."""
    apart = apply(matrix, marks.world[:, :2]) - marks.pixel
    return np.concatenate([apart.ravel(), line_distances(matrix, marks)]) / marks.deviation


def line_distances(matrix: Matrix, marks: Marks) -> Vector:
    """How far each pixel on a line lies from where a homography sees the line, (m,), in pixels."""
    seen = marks.line @ np.linalg.inv(matrix)
    x, y = marks.on_line.T
    return (seen[:, 0] * x + seen[:, 1] * y + seen[:, 2]) / np.hypot(seen[:, 0], seen[:, 1])


def _direct(marks: Marks) -> tuple[Matrix, Matrix, Matrix]:
    """The linear solution between normalised ground and normalised pixels, and the two normalisations.

    A point gives two equations, a pixel on a line one: both are linear in the way from pixels to the ground.
    """
    equations = 2 * len(marks.pixel) + len(marks.on_line)
    if equations < _FEWEST_EQUATIONS:
        raise ValueError(
            f"wanted at least 4 points, or 8 pixels on lines (a point counts as two); got {len(marks.pixel)} points "
            f"and {len(marks.on_line)} pixels on lines"
        )
    pixels = _normalisation(np.concatenate([marks.pixel, marks.on_line]))
    feet = -marks.line[:, 2:] * marks.line[:, :2]  # of each line, what is nearest to the origin
    ground = _normalisation(np.concatenate([marks.world[:, :2], feet]))
    to_pixels = np.asarray(np.linalg.inv(pixels), np.float64)
    (u, v), (x, y) = apply(pixels, marks.pixel).T, apply(ground, marks.world[:, :2]).T
    nothing, seen = np.zeros((len(u), 3)), np.stack([u, v, np.ones(len(u))], axis=-1)
    rows = [
        np.concatenate([seen, nothing, -x[:, None] * seen], axis=1),
        np.concatenate([nothing, seen, -y[:, None] * seen], axis=1),
    ]
    if len(marks.on_line):
        lines = marks.line @ np.linalg.inv(ground)
        lines /= np.hypot(lines[:, 0], lines[:, 1])[:, None]
        on = np.concatenate([apply(pixels, marks.on_line), np.ones((len(marks.on_line), 1))], axis=1)
        rows.append((lines[:, :, None] * on[:, None, :]).reshape(-1, 9))
    _, values, vectors = np.linalg.svd(np.concatenate(rows))
    if len(values) < _FEWEST_EQUATIONS or values[7] < _LEAST_CONDITION * values[0]:
        raise ValueError(
            "these marks leave the view open: take points of which no three lie on one line, or lines in two "
            "directions, at least two of each"
        )
    back = vectors[-1].reshape(3, 3)
    if abs(np.linalg.det(back)) < _LEAST_CONDITION:
        raise ValueError("these marks see the ground from its edge; take marks that are spread over it")
    return np.asarray(np.linalg.inv(back), np.float64), to_pixels, ground


def _normalisation(points: Points) -> Matrix:
    """The similarity that puts the middle of points at the origin, at a mean distance of the square root of 2."""
    middle = points.mean(axis=0)
    spread = np.hypot(*(points - middle).T).mean()
    scale = np.sqrt(2) / spread if spread > 0 else 1.0
    matrix: Matrix = np.array([[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1]], np.float64)
    return matrix


def _facing(matrix: Matrix, marks: Marks) -> float:
    """1 or -1: by what to multiply a matrix so that ground before the camera has a positive third coordinate.

    Raises: ValueError where marks lie on both sides of the horizon.
    """
    back = np.linalg.inv(matrix)
    seen = np.concatenate([marks.pixel, marks.on_line])
    depth = back[2, 0] * seen[:, 0] + back[2, 1] * seen[:, 1] + back[2, 2]
    if (depth > 0).all():
        return 1.0
    if (depth < 0).all():
        return -1.0
    raise ValueError("these marks lie on both sides of the horizon; is one of them paired with a wrong place?")
