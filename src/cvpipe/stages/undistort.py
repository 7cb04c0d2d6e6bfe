"""`undistort`: later stages see a picture without the lens's distortion."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from cvpipe.errors import InvalidRequest
from cvpipe.frames import View
from cvpipe.lens import Lens
from cvpipe.stages import Reshaper, StageOptions

_NEAR = 0.5
"""Pixels by which a point may miss itself on its way through the lens and back."""


class UndistortOptions(StageOptions):
    """Options of `undistort`."""

    type: Literal["undistort"] = "undistort"
    fx: float = Field(ge=1, le=1e6, description="Focal length in pixels, across.")
    fy: float = Field(ge=1, le=1e6, description="Focal length in pixels, down.")
    cx: float = Field(ge=-1e5, le=1e5, description="Principal point in pixels, across.")
    cy: float = Field(ge=-1e5, le=1e5, description="Principal point in pixels, down.")
    coefficients: list[float] = Field(
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
        if not np.isfinite(self.coefficients).all():
            raise ValueError("`coefficients` must be finite numbers")
        if (self.width is None) != (self.height is None):
            raise ValueError("give both `width` and `height` of the calibration, or none of them")
        return self


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
        o = self.options
        width, height = view.source
        scale_x, scale_y = width / (o.width or width), height / (o.height or height)
        lens = Lens(
            fx=o.fx * scale_x,
            fy=o.fy * scale_y,
            cx=(o.cx + 0.5) * scale_x - 0.5,
            cy=(o.cy + 0.5) * scale_y - 0.5,
            coefficients=(*o.coefficients, *[0.0] * (5 - len(o.coefficients)))[:5],  # type: ignore[arg-type]  # five of them
        )
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
