"""A camera calibrated: from what is written down of it to the ground in its picture, and how well the marks fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from cvpipe.camera import CameraSpec, LensSpec, PointSpec, PoseSpec, ViewSpec
from cvpipe.errors import InvalidRequest
from cvpipe.geometry.earth import TangentPlane
from cvpipe.geometry.ground import Ground
from cvpipe.geometry.homography import line_distances
from cvpipe.geometry.marks import Marks, line_through
from cvpipe.geometry.panning import Panning
from cvpipe.geometry.pitches import Pitch
from cvpipe.geometry.pose import LENS_PARAMETERS, Pose, fit_pose, project
from cvpipe.lens import Lens


@dataclass(frozen=True, slots=True, eq=False)
class Miss:
    """How far a mark is from where the calibrated camera sees it, in pixels. mark: its path, such as `points.3`."""

    mark: str
    pixels: float


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A camera, calibrated: the ground at each time, and how well the marks fit.

    plane: where x and y count from, for a camera with latitudes and longitudes. poses: where it stood, as far as its
    lens is known. misses: of all marks, in order.
    """

    ground: Panning
    plane: TangentPlane | None
    pitch: Pitch | None
    poses: tuple[Pose, ...]
    misses: tuple[Miss, ...]

    @property
    def rms_pixels(self) -> float | None:
        """Root of the mean squared miss, None without marks."""
        squares = [miss.pixels**2 for miss in self.misses]
        return math.sqrt(sum(squares) / len(squares)) if squares else None

    @property
    def worst(self) -> Miss | None:
        """The mark that is furthest off."""
        return max(self.misses, key=lambda miss: miss.pixels, default=None)


def calibrate(spec: CameraSpec, *, field: str | None = None) -> Calibration:
    """Find how a camera sees the ground. Raises: InvalidRequest, its message naming the mark or what is missing."""
    try:
        return _calibrated(spec.model_dump_json())
    except ValueError as error:
        raise InvalidRequest(f"camera {spec.name!r}: {error}", field=field) from None


@lru_cache(maxsize=32)
def _calibrated(document: str) -> Calibration:
    spec = CameraSpec.model_validate_json(document)
    if spec.chessboard is not None:
        raise ValueError("its lens is not known yet; a worker looks for it in the video of the chessboard")
    if not spec.sees_ground:
        raise ValueError("it knows its lens only; give `points`, `lines` or a `pose` to know the ground")
    field = None if spec.pitch is None else spec.pitch.measured()
    lens, deviations = (None, np.zeros(LENS_PARAMETERS)) if spec.lens is None else _lens(spec.lens)
    if spec.pose is not None:
        assert lens is not None
        pose, covariance = _given_pose(spec.pose, deviations)
        ground = Ground.from_pose(pose, lens, covariance)
        return Calibration(Panning((0.0,), (ground,)), None, field, (pose,), ())
    views = spec.views or [ViewSpec(at=0.0, points=spec.points, lines=spec.lines)]
    plane = _plane([point for view in views for point in view.points])
    grounds, poses, misses = [], [], []
    for number, view in enumerate(views):
        where = f"views.{number}." if spec.views else ""
        marks = _marks(view, field, plane, spec.pixel_deviation, where)
        try:
            if lens is None:
                ground = Ground.from_marks(marks)
            else:
                pose, fitted, covariance, _ = fit_pose(marks, lens, deviations)
                ground = Ground.from_pose(pose, fitted, covariance)
                poses.append(pose)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise ValueError(f"view at {view.at:g} s: {error}" if spec.views else str(error)) from None
        grounds.append(ground)
        misses += _misses(view, marks, ground, poses[-1] if poses else None, where)
    if len(grounds) > 1 and lens is not None:
        # Each view has corrected the lens a little by itself; between two of them there can be only one.
        grounds = [Ground(one.matrix, one.covariance[:9, :9], lens) for one in grounds]
    times = tuple(view.at for view in views)
    return Calibration(Panning(times, tuple(grounds)), plane, field, tuple(poses), tuple(misses))


def _lens(spec: LensSpec) -> tuple[Lens, Any]:
    padded = [*spec.coefficients, *[0.0] * (5 - len(spec.coefficients))]
    lens = Lens(spec.fx, spec.fy, spec.cx, spec.cy, tuple(padded))  # type: ignore[arg-type]  # five of them
    deviations = np.zeros(LENS_PARAMETERS)
    deviations[: len(spec.deviations)] = spec.deviations
    return lens, deviations


def _given_pose(spec: PoseSpec, lens_deviations: Any) -> tuple[Pose, Any]:
    """A pose, and its covariance with the lens's (15, 15).

    The angle is taken to be about the camera's own axes, the position to be wrong by as much in each direction.
    """
    place = np.array(spec.position)
    if spec.rotation is None:
        assert spec.looks_at is not None
        pose = Pose.looking(place, spec.looks_at, roll_degrees=spec.roll_degrees)
    else:
        turn = Pose(np.array(spec.rotation), np.zeros(3))
        pose = Pose(turn.rotation, -turn.matrix @ place)
    angle = math.radians(spec.angle_deviation)
    covariance = np.zeros((6 + LENS_PARAMETERS, 6 + LENS_PARAMETERS))
    # A turn of the camera about itself moves what it sees, not where it is: t = -R C turns with R.
    t = pose.translation
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    turning = np.concatenate([_turning(pose.rotation), -cross])
    covariance[:6, :6] = angle**2 * turning @ turning.T
    covariance[3:6, 3:6] += spec.position_deviation**2 * np.eye(3)
    covariance[6:, 6:] = np.diag(lens_deviations**2)
    return pose, covariance


def _turning(rotation: Any) -> Any:
    """How a rotation's vector changes with a small turn on top of it: (3, 3), the inverse of its left Jacobian."""
    angle = float(np.linalg.norm(rotation))
    x, y, z = rotation
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-6:
        return np.eye(3) - cross / 2
    half = angle / 2
    return np.eye(3) - cross / 2 + (1 - half / math.tan(half)) / angle**2 * cross @ cross


def _plane(points: Sequence[PointSpec]) -> TangentPlane | None:
    """The plane that touches the earth in the middle of the points, where they have latitudes and longitudes."""
    places = [point.geo for point in points if point.geo is not None]
    if not places:
        return None
    if len(places) < len(points):
        raise ValueError("give all points latitude and longitude (`geo`), or none of them")
    latitudes, longitudes = zip(*places, strict=True)
    if max(longitudes) - min(longitudes) > 180:  # on both sides of the 180th meridian
        longitudes = tuple(value % 360 for value in longitudes)
    middle = sum(longitudes) / len(longitudes)
    return TangentPlane(sum(latitudes) / len(latitudes), (middle + 180) % 360 - 180)


def _marks(view: ViewSpec, field: Pitch | None, plane: TangentPlane | None, deviation: float, where: str) -> Marks:
    world = []
    for number, point in enumerate(view.points):
        try:
            world.append(_place(point, field, plane))
        except ValueError as error:
            raise ValueError(f"{where}points.{number}: {error}") from None
    on_line, lines = [], []
    for number, line in enumerate(view.lines):
        try:
            known = _line(line.line, field)
        except ValueError as error:
            raise ValueError(f"{where}lines.{number}: {error}") from None
        on_line += line.pixels
        lines += [known] * len(line.pixels)
    return Marks(
        np.array([point.pixel for point in view.points], np.float64).reshape(-1, 2),
        np.array(world, np.float64).reshape(-1, 3),
        np.array(on_line, np.float64).reshape(-1, 2),
        np.array(lines, np.float64).reshape(-1, 3),
        deviation,
    )


def _place(point: PointSpec, field: Pitch | None, plane: TangentPlane | None) -> tuple[float, ...]:
    if point.world is not None:
        return (*point.world, 0.0)[:3]
    if point.geo is not None:
        assert plane is not None
        return (*plane.to_metres(np.array([point.geo]))[0].tolist(), 0.0)
    known = _pitch_of(field)
    if point.spot is not None:
        if point.spot not in known.spots:
            raise ValueError(_unknown("spot", point.spot, known, known.spots))
        return (*known.spots[point.spot], 0.0)
    assert point.crossing is not None
    for name in point.crossing:
        if name not in known.lines:
            raise ValueError(_unknown("line", name, known, known.lines))
    return (*known.crossing(*point.crossing), 0.0)


def _line(line: Any, field: Pitch | None) -> Any:
    if not isinstance(line, str):
        return line_through(*line)
    known = _pitch_of(field)
    if line not in known.lines:
        raise ValueError(_unknown("line", line, known, known.lines))
    return known.line(line)


def _pitch_of(field: Pitch | None) -> Pitch:
    if field is None:
        raise ValueError("name the `pitch` that its lines and spots are of")
    return field


def _unknown(what: Literal["spot", "line"], name: str, field: Pitch, known: Mapping[str, Any]) -> str:
    return f"a pitch of {field.kind} has no {what} {name!r}; it has {', '.join(sorted(known))}"


def _misses(view: ViewSpec, marks: Marks, ground: Ground, pose: Pose | None, where: str) -> list[Miss]:
    if pose is None or ground.lens is None:
        seen, on_line = ground.see(marks.world[:, :2]), marks
    else:
        seen = project(pose, ground.lens, marks.world)
        on_line = Marks(on_line=ground.lens.straighten(marks.on_line), line=marks.line)
    apart = np.hypot(*(seen - marks.pixel).T).tolist()
    found = [Miss(f"{where}points.{number}", miss) for number, miss in enumerate(apart)]
    names = [f"{where}lines.{number}" for number, line in enumerate(view.lines) for _ in line.pixels]
    distances = np.abs(line_distances(ground.matrix, on_line)).tolist() if names else []
    return found + [Miss(name, miss) for name, miss in zip(names, distances, strict=True)]
