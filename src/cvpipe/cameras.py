"""A camera as a service knows it: its version, whether its lens is known yet, and how well its marks fit."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from cvpipe.calibration import calibrate
from cvpipe.camera import CameraSpec
from cvpipe.job import JobError

CameraState = Literal["ready", "calibrating", "failed"]


class Reprojection(BaseModel):
    """How far the marks of a camera lie, in pixels, from where the calibrated camera sees them."""

    rms: float = Field(description="Root of the mean square, in pixels.")
    worst: float = Field(description="The largest, in pixels.")
    worst_mark: str = Field(description="Path of that mark, such as `points.3`.")
    marks: int


class Camera(BaseModel):
    """A camera, and how well it is known."""

    name: str
    version: int | None = Field(default=None, description="Counted from 1; jobs keep the one they began with.")
    state: CameraState = Field(description="`calibrating`: a worker looks for its lens, or will.")
    created_at: float | None = Field(default=None, description="Seconds since the epoch.")
    camera: CameraSpec = Field(description="As it was sent, and with its lens once that was found.")
    reprojection: Reprojection | None = Field(default=None, description="Of its points and lines, if it has any.")
    position: tuple[float, float, float] | None = Field(
        default=None, description="Where it stands, in metres, where its lens is known; at its first view if it pans."
    )
    error: JobError | None = Field(default=None, description="Why its lens could not be found.")

    @classmethod
    def of(
        cls, spec: CameraSpec, *, state: CameraState, created_at: float | None = None, error: JobError | None = None
    ) -> Self:
        """What to tell of a camera. Raises: InvalidRequest where one that is `ready` can't be calibrated."""
        known = cls(name=spec.name, version=spec.version, state=state, created_at=created_at, camera=spec, error=error)
        if state != "ready" or not spec.sees_ground:
            return known
        found = calibrate(spec)
        if found.worst is not None and found.rms_pixels is not None:
            known.reprojection = Reprojection(
                rms=round(found.rms_pixels, 3),
                worst=round(found.worst.pixels, 3),
                worst_mark=found.worst.mark,
                marks=len(found.misses),
            )
        if found.poses:
            x, y, z = (round(value, 3) for value in found.poses[0].position.tolist())
            known.position = (x, y, z)
        return known
