"""`roi`: later stages see what lies in polygons, and padding around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from cvpipe.errors import InvalidRequest
from cvpipe.frames import View
from cvpipe.stages import Reshaper, StageOptions

_Coordinate = Annotated[float, Field(ge=0, le=65536)]
_Polygon = Annotated[list[tuple[_Coordinate, _Coordinate]], Field(min_length=3, max_length=256)]


class RoiOptions(StageOptions):
    """Options of `roi`."""

    type: Literal["roi"] = "roi"
    polygons: list[_Polygon] = Field(
        min_length=1,
        max_length=32,
        description="Corners of one or more polygons, [[x, y], ...] each; what lies in none of them is painted over.",
    )
    unit: Literal["pixels", "fraction"] = Field(
        default="pixels",
        description="pixels: of the displayed source frame, whatever was done to it before; fraction: of its width and "
        "height, 0 to 1.",
    )
    pad: int = Field(default=114, ge=0, le=255, description="Grey level of what is painted over.")

    @model_validator(mode="after")
    def _inside(self) -> RoiOptions:
        if self.unit == "fraction" and any(max(point) > 1 for polygon in self.polygons for point in polygon):
            raise ValueError("corners in fractions lie between 0 and 1; write `unit: pixels` for pixels")
        return self


class Roi(Reshaper[RoiOptions]):
    """Look only at what lies in polygons; the rest of the picture is grey."""

    Options = RoiOptions
    example = """
    - {type: roi, polygons: [[[120, 400], [300, 100], [500, 400]]]}
    - {type: edges}
    """

    def reshape(self, view: View) -> View:
        """The view behind a mask.

        Raises: InvalidRequest where a corner lies outside the frame, a polygon has no area, or after a `roi`.
        """
        if view.polygons:
            raise InvalidRequest("there is a `roi` before it; write all polygons into one", field=self.name)
        width, height = view.source
        scale = (width, height) if self.options.unit == "fraction" else (1, 1)
        polygons = [np.array(polygon) * scale for polygon in self.options.polygons]
        for number, polygon in enumerate(polygons, 1):
            outside = polygon[(polygon > view.source).any(axis=1)]
            if len(outside):
                raise InvalidRequest(
                    f"polygon {number} has a corner at {outside[0][0]:g}, {outside[0][1]:g}, but the frame has "
                    f"{width}x{height} pixels; put its corners inside or on the edge, or write them with "
                    "`unit: fraction`",
                    field=self.name,
                )
            if np.linalg.matrix_rank(polygon[1:] - polygon[0], tol=1e-6) < 2:  # all corners on one line
                raise InvalidRequest(f"polygon {number} has no area: it shows nothing", field=self.name)
        masks = tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in polygons)
        return replace(view, polygons=masks, pad=self.options.pad)
