"""`crop`: later stages see a part of the frame."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cvpipe.errors import InvalidRequest
from cvpipe.frames import View
from cvpipe.stages import Reshaper, StageOptions


class CropOptions(StageOptions):
    """Options of `crop`."""

    type: Literal["crop"] = "crop"
    x: float = Field(default=0, ge=0, description="Left edge.")
    y: float = Field(default=0, ge=0, description="Upper edge.")
    width: float = Field(gt=0, description="Width.")
    height: float = Field(gt=0, description="Height.")
    unit: Literal["pixels", "fraction"] = Field(
        default="pixels",
        description="pixels: of the displayed source frame, whatever was done to it before; fraction: of its width and "
        "height, 0 to 1.",
    )

    @model_validator(mode="after")
    def _inside(self) -> CropOptions:
        if self.unit == "fraction" and (self.x + self.width > 1 + 1e-9 or self.y + self.height > 1 + 1e-9):
            raise ValueError("a crop in fractions must end at 1 or before: x + width and y + height")
        values = (self.x, self.y, self.width, self.height)
        if self.unit == "pixels" and any(value != int(value) for value in values):
            raise ValueError("a crop in pixels takes whole numbers; for shares of the frame write `unit: fraction`")
        return self


class Crop(Reshaper[CropOptions]):
    """Look at a part of the frame only; boxes still come back in pixels of the whole frame."""

    Options = CropOptions
    example = """
    - {type: crop, x: 0, y: 0.5, width: 1, height: 0.5, unit: fraction}
    - {type: read_text}
    """

    def reshape(self, view: View) -> View:
        """The part of the view. Raises: InvalidRequest where the crop does not lie in the frame."""
        o = self.options
        width, height = view.source
        scale_x, scale_y = (width, height) if o.unit == "fraction" else (1, 1)
        left, top = round(o.x * scale_x), round(o.y * scale_y)
        if o.unit == "fraction":  # a share of a pixel at the far edge is the last pixel
            left, top = min(left, width - 1), min(top, height - 1)
        right, bottom = round((o.x + o.width) * scale_x), round((o.y + o.height) * scale_y)
        if right > width or bottom > height:
            raise InvalidRequest(
                f"the crop reaches to {right}, {bottom}, but the frame has {width}x{height} pixels; make it smaller, "
                "or write it with `unit: fraction`",
                field=self.name,
            )
        try:
            return view.cropped(left, top, max(1, right - left), max(1, bottom - top))
        except ValueError as error:
            raise InvalidRequest(f"nothing is left to look at: {error}", field=self.name) from None
