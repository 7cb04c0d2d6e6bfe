"""`to_world`: where on the ground objects are, in metres, how they move there, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.calibration import Calibration, calibrate
from cvpipe.camera import CameraRef, CameraSpec
from cvpipe.errors import InvalidPipeline
from cvpipe.geometry.course import Course, Motion
from cvpipe.geometry.ground import Ground, Located, spread_of
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages import SequenceStage, StageOptions, Tools

_LEAST_DEVIATION = 0.5  # pixels
_LEAST_KEYPOINT_SCORE = 0.3
_FORGET_SECONDS = 60.0
_MAX_DISTANCES = 50


class ToWorldOptions(StageOptions):
    """Options of `to_world`."""

    type: Literal["to_world"] = "to_world"
    camera: CameraRef = Field(
        default=None,
        description="Name of a camera, or the camera itself, as `POST /v1/cameras` takes it. Default: the job's.",
    )
    of: str | None = Field(default=None, description="Name of the stage whose objects to place. Default: all objects.")
    point: Literal["foot", "keypoints", "centre"] = Field(
        default="foot",
        description="What of an object touches the ground: the middle of the box's lower edge; the middle of its "
        "`foot_keypoints`, where they were found; or, seen from above, the middle of the box.",
    )
    foot_keypoints: list[int] = Field(
        default_factory=lambda: [15, 16],
        min_length=1,
        max_length=16,
        description="Numbers of the keypoints at the feet. Default: the ankles of COCO.",
    )
    box_deviation: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="How exactly boxes are found: standard deviation as a share of their width and height (with "
        "keypoints: of the height).",
    )
    window_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Speed and direction are those over so much time before a frame."
    )
    distances: Literal["nearest", "all", "none"] = Field(
        default="nearest",
        description="Distances between objects: of each to the nearest one; of all pairs, of 50 objects at most (not "
        "with `when`); none.",
    )

    @model_validator(mode="after")
    def _counts_all(self) -> Self:
        if self.distances == "all" and self.when is not None:
            raise ValueError("`distances: all` names objects by their place among all; leave out `when`")
        return self


class ToWorld(SequenceStage[ToWorldOptions]):
    """Say where on the ground objects are, in metres or latitude and longitude, how fast they are, and how sure it is.

    Values of each object whose foot is on the ground before the camera: `position`; with a track also `speed`,
    `direction` and `distance`; `nearest`. All with standard deviations that follow from the camera's calibration and
    from `box_deviation`.
    """

    Options = ToWorldOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: track, of: people}
    - type: to_world
      of: people
      camera:
        pitch: football
        points:
          - {pixel: [960, 612], spot: centre-spot}
          - {pixel: [962, 301], crossing: [halfway-line, far-touchline]}
          - {pixel: [402, 381], crossing: [left-penalty-area-front, left-penalty-area-far]}
          - {pixel: [1518, 379], crossing: [right-penalty-area-front, right-penalty-area-far]}
    """

    _calibration: Calibration

    def __init__(self, options: ToWorldOptions) -> None:
        super().__init__(options)
        self._courses: dict[int, Course] = {}

    @property
    def finds_objects(self) -> bool:
        """It says where those of others are."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are placed."""
        return () if self.options.of is None else (self.options.of,)

    def open(self, tools: Tools) -> None:  # noqa: ARG002 - NumPy is all it takes
        """Calibrate the camera. Raises: InvalidPipeline where there is none; InvalidRequest."""
        camera = self.options.camera
        if not isinstance(camera, CameraSpec):
            raise InvalidPipeline(f"stage {self.name!r} needs a camera: name one in the stage, or with the job")
        self._calibration = calibrate(camera.scaled(*self.size) if all(self.size) else camera)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with places on the ground."""
        objects = record.objects
        mine = np.arange(len(objects)) if self.options.of is None else np.flatnonzero(objects.of_stage(self.options.of))
        if not len(mine) or not self.looked(record):
            return record
        ground = self._calibration.ground.at(record.time)
        pixels, deviations = self._feet(objects, mine)
        located = ground.locate(pixels, deviations)
        found = self._places(objects, mine, located, ground, record.time)
        values = {}
        if self.options.distances == "nearest":
            _add_nearest(found, objects, mine, located, ground, is_counted=self.options.when is None)
        elif self.options.distances == "all":
            values = {self.name: {"distances": _all_distances(mine, located, ground)}}
        return replace(record, objects=objects.with_values(self.name, found), values={**record.values, **values})

    def state(self) -> Mapping[str, Any]:
        """The ways of all tracks."""
        return {"courses": [[track, course.state()] for track, course in self._courses.items()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        window = self.options.window_seconds
        self._courses = {track: Course.restore(window, known) for track, known in state["courses"]}

    def _feet(
        self, objects: Objects, mine: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Where objects touch the ground, (n, 2) pixels, and the standard deviations of that, (n, 2) pixels."""
        boxes = objects.box[mine].astype(np.float64)
        size = boxes[:, 2:] - boxes[:, :2]
        feet = (boxes[:, :2] + boxes[:, 2:]) / 2
        deviations = np.maximum(self.options.box_deviation * size, _LEAST_DEVIATION)
        if self.options.point == "centre":
            return feet, deviations
        feet[:, 1] = boxes[:, 3]
        if self.options.point == "keypoints":
            for row, place in enumerate(mine.tolist()):
                points = objects.keypoints[place]
                known = [n for n in self.options.foot_keypoints if points is not None and n < len(points)]
                sure = [n for n in known if points is not None and points[n, 2] >= _LEAST_KEYPOINT_SCORE]
                if sure and points is not None:
                    feet[row] = points[sure, :2].astype(np.float64).mean(axis=0)
                    deviations[row] = max(self.options.box_deviation * size[row, 1], _LEAST_DEVIATION)
        return feet, deviations

    def _places(
        self, objects: Objects, mine: npt.NDArray[np.intp], located: Located, ground: Ground, time: float
    ) -> dict[int, dict[str, Any]]:
        """What to say of each object that is on the ground, by its place among all objects."""
        plane = self._calibration.plane
        covariance = ground.covariance_of(located)
        found: dict[int, dict[str, Any]] = {}
        for row, place in enumerate(mine.tolist()):
            if not located.seen[row]:
                continue
            spread = covariance[row]
            deviation = np.sqrt(np.maximum(np.diag(spread), 0))
            told: dict[str, Any] = {
                "position": _metres(located.position[row]),
                "deviation": _metres(deviation),
                "correlation": round(float(spread[0, 1] / max(float(deviation.prod()), 1e-12)), 3),
            }
            if plane is not None:
                told["geo"] = [round(v, 8) for v in plane.to_degrees(located.position[row : row + 1])[0].tolist()]
            track = int(objects.track[place])
            if track >= 0:
                course = self._courses.setdefault(track, Course(self.options.window_seconds))
                course.add(time, located.position[row], located.sensitivity[row], located.noise[row])
                motion = course.motion(ground.covariance)
                if motion is not None:
                    told |= _told(motion, is_compass=plane is not None)
            found[place] = told
        for track in [t for t, course in self._courses.items() if time - course.last_seen > _FORGET_SECONDS]:
            del self._courses[track]
        return found


def _told(motion: Motion, *, is_compass: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "speed": round(motion.speed, 3),
        "speed_deviation": round(motion.speed_deviation, 3),
        "distance": round(motion.distance, 3),
        "distance_deviation": round(motion.distance_deviation, 3),
    }
    if motion.direction is not None and motion.direction_deviation is not None:
        angle = (90 - motion.direction) % 360 if is_compass else motion.direction
        told["direction"] = round(angle, 1) % 360
        told["direction_deviation"] = round(motion.direction_deviation, 1)
    return told


def _add_nearest(
    found: dict[int, dict[str, Any]],
    objects: Objects,
    mine: npt.NDArray[np.intp],
    located: Located,
    ground: Ground,
    *,
    is_counted: bool,
) -> None:
    """Tell each object which one is nearest. is_counted: whether these are all objects, so that their places count."""
    rows = np.flatnonzero(located.seen)
    if len(rows) < 2:
        return
    away = located.position[rows][:, None] - located.position[rows]
    squares = (away**2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    for number, other in enumerate(squares.argmin(axis=1).tolist()):
        row, nearest = int(rows[number]), int(rows[other])
        distance, deviation = _between(located, ground, row, nearest)
        track = int(objects.track[mine[nearest]])
        found[int(mine[row])]["nearest"] = {
            **({"object": int(mine[nearest])} if is_counted else {}),
            "track": track if track >= 0 else None,
            "distance": round(distance, 3),
            "deviation": round(deviation, 3),
        }


def _all_distances(mine: npt.NDArray[np.intp], located: Located, ground: Ground) -> list[dict[str, Any]]:
    rows = np.flatnonzero(located.seen)[:_MAX_DISTANCES].tolist()
    found = []
    for number, row in enumerate(rows):
        for other in rows[number + 1 :]:
            distance, deviation = _between(located, ground, row, other)
            found.append(
                {
                    "objects": [int(mine[row]), int(mine[other])],
                    "distance": round(distance, 3),
                    "deviation": round(deviation, 3),
                }
            )
    return found


def _between(located: Located, ground: Ground, one: int, other: int) -> tuple[float, float]:
    """Distance of two places in metres, and its standard deviation: what errs in both alike does not count."""
    away = located.position[one] - located.position[other]
    distance = float(np.hypot(*away))
    along = away / distance if distance > 0 else np.array([1.0, 0.0])
    spread = spread_of(located.sensitivity[one] - located.sensitivity[other], ground.covariance)
    spread = spread + located.noise[one] + located.noise[other]
    return distance, math.sqrt(max(0.0, float(along @ spread @ along)))


def _metres(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(value, 3) for value in values.tolist()]
