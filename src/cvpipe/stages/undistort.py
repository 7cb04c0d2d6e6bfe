"""`undistort`: later stages see a picture without the lens's distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from cvpipe.camera import CameraRef, CameraSpec
from cvpipe.errors import InvalidPipeline, InvalidRequest
from cvpipe.frames import View
from cvpipe.lens import Lens
from cvpipe.stages import Reshaper, StageOptions

_NEAR = 0.5
"""Pixels by which a point may miss itself on its way through the lens and back."""


class UndistortOptions(StageOptions):
    """Options of `undistort`."""

    type: Literal["undistort"] = "undistort"
    camera: CameraRef = Field(
        default=None,
        description="Name of a camera whose `lens` is known, or the camera itself. Default: the job's, where no "
        "`coefficients` are given.",
    )
    fx: float | None = Field(default=None, ge=1, le=1e6, description="Focal length in pixels, across.")
    fy: float | None = Field(default=None, ge=1, le=1e6, description="Focal length in pixels, down.")
    cx: float | None = Field(default=None, ge=-1e5, le=1e5, description="Principal point in pixels, across.")
    cy: float | None = Field(default=None, ge=-1e5, le=1e5, description="Principal point in pixels, down.")
    coefficients: list[float] | None = Field(
        default=None,
        min_length=1,
        max_length=5,
        description="Distortion as OpenCV's calibrateCamera returns it: k1, k2, p1, p2, k3; those left out are 0.",
    )
    width: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Of the pictures that the camera was calibrated with. Default: the video's.",
    )
    height: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Of the pictures that the camera was calibrated with. Default: the video's.",
    )

    @model_validator(mode="after")
    def _finite(self) -> UndistortOptions:
        numbers = {name: getattr(self, name) for name in ("fx", "fy", "cx", "cy", "coefficients")}
        given = [name for name, value in numbers.items() if value is not None]
        if given and self.camera is not None:
            raise ValueError(f"give `camera` or numbers of a lens, not both; got `{given[0]}` too")
        if given and len(given) < len(numbers):
            missing = next(name for name, value in numbers.items() if value is None)
            raise ValueError(f"`{missing}` is missing: a lens is `fx`, `fy`, `cx`, `cy` and `coefficients`")
        if not np.isfinite(self.coefficients or []).all():
            raise ValueError("`coefficients` must be finite numbers")
        if not given and (self.width, self.height) != (None, None):
            raise ValueError("a camera has its own `width` and `height`; leave them out")
        if (self.width is None) != (self.height is None):
            raise ValueError("give both `width` and `height` of the calibration, or none of them")
        return self

    @property
    def needs_camera(self) -> bool:
        """Where the numbers are not given."""
        return self.coefficients is None

    def lens(self, width: int, height: int) -> Lens:
        """The lens, for pictures of a size. Raises: InvalidPipeline where the camera is not known."""
        if self.coefficients is not None:
            assert self.fx is not None
            assert self.fy is not None
            assert self.cx is not None
            assert self.cy is not None
            return _scaled(
                Lens(self.fx, self.fy, self.cx, self.cy, _five(self.coefficients)),
                width / (self.width or width),
                height / (self.height or height),
            )
        if not isinstance(self.camera, CameraSpec) or self.camera.lens is None:
            raise InvalidPipeline("needs a camera whose `lens` is known: name one in the stage, or with the job")
        known = self.camera.lens
        return _scaled(
            Lens(known.fx, known.fy, known.cx, known.cy, _five(known.coefficients)),
            width / (self.camera.width or width),
            height / (self.camera.height or height),
        )


def _five(coefficients: Sequence[float]) -> tuple[float, float, float, float, float]:
    k1, k2, p1, p2, k3 = (*coefficients, *[0.0] * (5 - len(coefficients)))
    return k1, k2, p1, p2, k3


def _scaled(lens: Lens, across: float, down: float) -> Lens:
    """For pictures of another size; the principal point counts from the middle of the first pixel."""
    return replace(
        lens, fx=lens.fx * across, fy=lens.fy * down, cx=(lens.cx + 0.5) * across - 0.5, cy=(lens.cy + 0.5) * down - 0.5
    )


class Undistort(Reshaper[UndistortOptions]):
    """Straighten what the lens bent; boxes still come back where they are in the bent source frame."""

    Options = UndistortOptions
    example = """
    - {type: undistort, fx: 300, fy: 300, cx: 160, cy: 90, coefficients: [-0.1], width: 320, height: 180}
    - {type: edges}
    """

    def reshape(self, view: View) -> View:
        """The view, straightened.

        Raises: InvalidRequest after a `crop`, a `tiles` or another `undistort`, and for a lens that folds the frame.
        """
        if view.lens is not None or view.region != (0, 0, *view.source):
            raise InvalidRequest(
                "`undistort` straightens the whole frame once: put it before `crop`, `tiles` and `resize: fill`",
                field=self.name,
            )
        width, height = view.source
        lens = self.options.lens(width, height)
        grid = np.stack(np.meshgrid(np.linspace(0, width, 33), np.linspace(0, height, 33)), axis=-1)
        with np.errstate(all="ignore"):
            missed = np.abs(lens.straighten(lens.distort(grid)) - grid).max()
        if not missed < _NEAR:
            raise InvalidRequest(
                f"with these coefficients, points of the {width}x{height} frame fall together: check that the "
                "calibration is of this camera, at this size (else give its `width` and `height`)",
                field=self.name,
            )
        return replace(view, lens=lens)
