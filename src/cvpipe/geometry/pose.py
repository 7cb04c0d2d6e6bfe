"""Where a camera stands and where it looks, from marks and its lens.

Points on the ground give the pose by the homography of the ground; others, from six on, by the direct linear transform
of the projection. Then the least squares of the distances in pixels, over the pose and, as far as it is uncertain, the
lens. (Hartley and Zisserman, Multiple View Geometry, 2004, chapters 7 and 8.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.homography import Matrix, fit_homography, line_distances
from cvpipe.geometry.least_squares import Fit, Vector, derivative, fit
from cvpipe.geometry.marks import Marks, Points
from cvpipe.lens import Lens

LENS_PARAMETERS: Final = 9
"""fx, fy, cx, cy, k1, k2, p1, p2, k3."""

_FEWEST_POINTS: Final = 6
_LEAST_CONDITION: Final = 1e-6
_SMALL_ANGLE: Final = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A camera in the world, as OpenCV has it: what is at X in the world is at R X + t before the camera.

    rotation: (3,), the axis of R times its angle in radians. translation: t, (3,), metres.
    """

    rotation: Vector
    translation: Vector

    @property
    def matrix(self) -> Matrix:
        """R, (3, 3)."""
        return rotation_matrix(self.rotation)

    @property
    def position(self) -> Vector:
        """Where the camera is, (3,), metres."""
        return -self.matrix.T @ self.translation

    @classmethod
    def looking(cls, position: npt.ArrayLike, at: npt.ArrayLike, *, roll_degrees: float = 0.0) -> Pose:
        """A camera at a position that has `at` in the middle of its picture; rolled clockwise as it sees the world.

        Raises: ValueError where it looks straight up or down and is not rolled: nothing says where up is.
        """
        place = np.asarray(position, np.float64)
        ahead = np.asarray(at, np.float64) - place
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        if np.linalg.norm(ahead) == 0 or np.linalg.norm(right) <= 1e-9 * np.linalg.norm(ahead):
            raise ValueError("a camera that looks straight down needs a `rotation` instead of `looks_at`")
        ahead, right = ahead / np.linalg.norm(ahead), right / np.linalg.norm(right)
        angle = np.radians(roll_degrees)
        down = np.cross(ahead, right)
        across = np.cos(angle) * right + np.sin(angle) * down
        axes = np.stack([across, np.cross(ahead, across), ahead])
        return cls(rotation_vector(axes), -axes @ place)


def rotation_matrix(vector: Vector) -> Matrix:
    """The rotation about an axis by its length in radians (Rodrigues): (3,) -> (3, 3)."""
    x, y, z = vector
    angle = float(np.sqrt(x * x + y * y + z * z))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < _SMALL_ANGLE:
        return np.eye(3) + cross
    return np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross


def rotation_vector(matrix: Matrix) -> Vector:
    """The inverse of `rotation_matrix`; angles from 0 to pi."""
    # The axis is the eigenvector of 1, which is well conditioned at every angle but 0.
    skew = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]) / 2
    sine, cosine = float(np.linalg.norm(skew)), (float(np.trace(matrix)) - 1) / 2
    angle = float(np.arctan2(sine, cosine))
    if angle < _SMALL_ANGLE:
        return skew
    symmetric = (matrix + matrix.T) / 2 - cosine * np.eye(3)
    axis = symmetric[np.argmax(np.abs(np.diag(symmetric)))]
    axis = axis / np.linalg.norm(axis)
    return angle * (axis if axis @ skew >= 0 else -axis)


def lens_parameters(lens: Lens) -> Vector:
    """The numbers of a lens: (9,)."""
    return np.array([lens.fx, lens.fy, lens.cx, lens.cy, *lens.coefficients])


def lens_of(parameters: Vector) -> Lens:
    """The inverse of `lens_parameters`."""
    fx, fy, cx, cy, *coefficients = parameters.tolist()
    return Lens(fx, fy, cx, cy, tuple(coefficients))


def project(pose: Pose, lens: Lens, world: Points) -> Points:
    """Where a camera sees points (n, 3) in metres: pixels (n, 2), as recorded, bent by the lens."""
    before = world @ pose.matrix.T + pose.translation
    flat = before[:, :2] / before[:, 2:]
    return lens.distort(flat * (lens.fx, lens.fy) + (lens.cx + 0.5, lens.cy + 0.5))


def ground_matrix(pose: Pose, lens: Lens) -> Matrix:
    """The homography from the ground to straightened pixels, (3, 3); ground before the camera has a positive third."""
    turned = pose.matrix
    seen = np.stack([turned[:, 0], turned[:, 1], pose.translation], axis=-1)
    return np.array([[lens.fx, 0, lens.cx + 0.5], [0, lens.fy, lens.cy + 0.5], [0, 0, 1]]) @ seen


def fit_pose(marks: Marks, lens: Lens, deviations: Vector) -> tuple[Pose, Lens, Matrix, Fit]:
    """The pose, the lens, the covariance (15, 15) of rotation, translation and lens, and the fit.

    deviations: (9,), standard deviations of the lens's numbers (`LENS_PARAMETERS`); 0 where a number is exact.
    Raises: ValueError where the marks do not determine it.
    """
    start = _start(marks, lens)
    known = lens_parameters(lens)
    is_open = deviations > 0
    straight = Marks(deviation=marks.deviation, on_line=marks.on_line, line=marks.line)

    def split(parameters: Vector) -> tuple[Pose, Lens]:
        numbers = known.copy()
        numbers[is_open] += parameters[6:] * deviations[is_open]
        return Pose(parameters[:3], parameters[3:6]), lens_of(numbers)

    def residuals(parameters: Vector) -> Vector:
        pose, bent = split(parameters)
        parts = [(project(pose, bent, marks.world) - marks.pixel).ravel() / marks.deviation, parameters[6:]]
        if len(marks.line):
            on = Marks(on_line=bent.straighten(straight.on_line), line=straight.line)
            parts.insert(1, line_distances(ground_matrix(pose, bent), on) / marks.deviation)
        return np.concatenate(parts)

    found = fit(residuals, np.concatenate([start.rotation, start.translation, np.zeros(is_open.sum())]))
    pose, bent = split(found.parameters)
    if (project_depth(pose, marks.world) <= 0).any():
        raise ValueError("these marks put some points behind the camera; is one of them paired with a wrong place?")
    columns = np.concatenate([np.ones(6, bool), is_open])
    scale = np.concatenate([np.ones(6), deviations[is_open]])
    covariance = np.zeros((6 + LENS_PARAMETERS, 6 + LENS_PARAMETERS))
    covariance[np.ix_(columns, columns)] = found.covariance() * np.outer(scale, scale)
    return pose, bent, covariance, found


def project_depth(pose: Pose, world: Points) -> Vector:
    """How far before the camera points (n, 3) are: (n,), metres."""
    depth: Vector = (world @ pose.matrix.T + pose.translation)[:, 2]
    return depth


def ground_and_lens(parameters: Vector) -> Vector:
    """Entries of the ground's homography, of norm 1, and the lens, (18,), from rotation, translation, lens, (15,)."""
    matrix = ground_matrix(Pose(parameters[:3], parameters[3:6]), lens_of(parameters[6:]))
    return np.concatenate([matrix.ravel() / np.linalg.norm(matrix), parameters[6:]])


def ground_covariance(pose: Pose, lens: Lens, covariance: Matrix) -> Matrix:
    """The covariance (18, 18) of `ground_and_lens`, from that of a pose and lens (15, 15)."""
    slopes = derivative(ground_and_lens, np.concatenate([pose.rotation, pose.translation, lens_parameters(lens)]))
    return slopes @ covariance @ slopes.T


def _start(marks: Marks, lens: Lens) -> Pose:
    """A pose that is near."""
    flat = marks.world[:, 2] == 0
    ground = Marks(
        lens.straighten(marks.pixel[flat]),
        marks.world[flat],
        lens.straighten(marks.on_line),
        marks.line,
        marks.deviation,
    )
    if 2 * flat.sum() + len(marks.line) >= 8:
        return _from_ground(fit_homography(ground)[0], lens)
    if len(marks.world) < _FEWEST_POINTS:
        raise ValueError(
            f"wanted at least 4 points on the ground, or 6 of which some are above it; got {len(marks.world)}, "
            f"{int(flat.sum())} of them on the ground"
        )
    return _from_space(lens.straighten(marks.pixel), marks.world, lens)


def _from_ground(matrix: Matrix, lens: Lens) -> Pose:
    """The pose that sees the ground by a homography (3, 3), as nearly as there is one."""
    to_rays = np.linalg.inv(np.array([[lens.fx, 0, lens.cx + 0.5], [0, lens.fy, lens.cy + 0.5], [0, 0, 1]]))
    seen = to_rays @ matrix
    seen /= np.linalg.norm(seen[:, :2]) / np.sqrt(2)
    axes = np.stack([seen[:, 0], seen[:, 1], np.cross(seen[:, 0], seen[:, 1])], axis=-1)
    return Pose(rotation_vector(_nearest_rotation(axes)), seen[:, 2])


def _from_space(pixels: Points, world: Points, lens: Lens) -> Pose:
    """The pose from six points or more, by the direct linear transform."""
    middle = world.mean(axis=0)
    spread = np.linalg.norm(world - middle, axis=1).mean()
    near = np.concatenate([(world - middle) / spread, np.ones((len(world), 1))], axis=1)
    x, y = ((pixels - (lens.cx + 0.5, lens.cy + 0.5)) / (lens.fx, lens.fy)).T
    nothing = np.zeros_like(near)
    rows = [
        np.concatenate([near, nothing, -x[:, None] * near], axis=1),
        np.concatenate([nothing, near, -y[:, None] * near], axis=1),
    ]
    _, values, vectors = np.linalg.svd(np.concatenate(rows))
    if values[10] < _LEAST_CONDITION * values[0]:
        raise ValueError("these points leave the pose open: take some that do not lie on one plane, nor all on a line")
    seen = vectors[-1].reshape(3, 4)
    if np.linalg.det(seen[:, :3]) < 0:
        seen = -seen
    scale = np.cbrt(np.linalg.det(seen[:, :3]))
    turned = _nearest_rotation(seen[:, :3])
    return Pose(rotation_vector(turned), seen[:, 3] / scale * spread - turned @ middle)


def _nearest_rotation(matrix: Matrix) -> Matrix:
    left, _, right = np.linalg.svd(matrix)
    return left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
