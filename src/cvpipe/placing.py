"""Placing: lines, zones and paths in the picture or on the ground before a camera, and where objects are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.calibration import Calibration, calibrate
from cvpipe.camera import CameraRef, CameraSpec
from cvpipe.errors import InvalidPipeline
from cvpipe.shapes import Point, check_points, in_pixels
from cvpipe.sightings import Sighting

WorldUnit = Literal["pixels", "relative", "metres"]
WorldUnits = Annotated[
    WorldUnit,
    Field(
        description="Of coordinates: pixels of the displayed source frame, shares of it, from 0 to 1, or metres on the "
        "ground before `camera`, x and y as it has them."
    ),
]
WorldCamera = Annotated[
    CameraRef,
    Field(
        description="With `units: metres`: name of a camera, or the camera itself, as `POST /v1/cameras` takes it. "
        "Default: the job's."
    ),
]
_STEPS: Final = 16
"""Parts of an edge, as it is drawn: through a lens it is bent."""


def check_placed(points: Iterable[Point], units: str, camera: Any) -> None:
    """Raises: ValueError where coordinates are not in their units, or a camera is given in vain."""
    if camera is not None and units != "metres":
        raise ValueError(f"`camera` is for `units: metres`, not {units}")
    check_points(points, units)


class Placing:
    """Where a stage's lines, zones and paths lie.

    handed: 1 where y counts downwards, as in the picture; -1 where it counts upwards, as on a map.
    """

    def __init__(self, units: str, camera: CameraRef, size: tuple[int, int]) -> None:
        """size: width and height of the displayed source frame in pixels."""
        self._units, self._camera, self._size = units, camera, size
        self._calibration: Calibration | None = None
        self.handed = -1 if units == "metres" else 1

    def open(self, stage: str) -> None:
        """Calibrate the camera. Raises: InvalidPipeline where there is none; InvalidRequest."""
        if self._units != "metres":
            return
        if not isinstance(self._camera, CameraSpec):
            raise InvalidPipeline(f"stage {stage!r} needs a camera: name one in the stage, or with the job")
        self._calibration = calibrate(self._camera.scaled(*self._size) if all(self._size) else self._camera)

    def length(self, distance: float) -> float:
        """A distance in pixels, or in metres; a share is one of the frame's height."""
        return distance * self._size[1] if self._units == "relative" else distance

    def corners(self, points: Sequence[Point]) -> npt.NDArray[np.float64]:
        """(k, 2) in pixels, or in metres."""
        return np.array(points, np.float64) if self._units == "metres" else in_pixels(points, self._units, self._size)

    def on_ground(self, some: Sequence[Sighting]) -> list[Sighting]:
        """These with their points as they are compared with corners; what is above the horizon is left out."""
        if self._calibration is None or not some:
            return list(some)
        places, is_seen = self.locate(np.array([one.point for one in some]), some[0].moment.time)
        there = zip(some, places, is_seen.tolist(), strict=True)
        return [replace(one, point=place) for one, place, seen in there if seen]

    def locate(
        self, points: npt.NDArray[np.float64], time: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Points (n, 2) in pixels as they are compared with corners, and which of them are not above the horizon."""
        if self._calibration is None or not len(points):
            return points, np.ones(len(points), np.bool_)
        located = self._calibration.ground.at(time).locate(points, np.zeros_like(points))
        return located.position, located.seen

    def outline(self, points: Sequence[Point], *, is_closed: bool) -> tuple[tuple[float, float], ...]:
        """As it is drawn, in pixels; nothing where that is not known, or changes because the camera pans."""
        corners = self.corners(points)
        if self._units == "metres":
            if not isinstance(self._camera, CameraSpec) or not all(self._size):
                return ()
            grounds = calibrate(self._camera.scaled(*self._size)).ground.grounds
            if len(grounds) > 1:
                return ()
            corners = grounds[0].see(_in_steps(corners, is_closed=is_closed))
            corners = corners[np.isfinite(corners).all(axis=1)]  # the rest is behind the camera
        return tuple((float(x), float(y)) for x, y in corners)


def _in_steps(corners: npt.NDArray[np.float64], *, is_closed: bool) -> npt.NDArray[np.float64]:
    ends = np.roll(corners, -1, axis=0) if is_closed else corners[1:]
    shares = np.arange(_STEPS)[:, None] / _STEPS
    edges = [start + shares * (end - start) for start, end in zip(corners, ends, strict=False)]
    return np.concatenate([*edges, corners[:1] if is_closed else corners[-1:]])
