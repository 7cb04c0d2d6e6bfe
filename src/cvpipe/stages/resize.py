"""`resize`: later stages see a smaller (or larger) picture."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cvpipe.frames import ResizeMode, View
from cvpipe.stages import Reshaper, StageOptions


class ResizeOptions(StageOptions):
    """Options of `resize`."""

    type: Literal["resize"] = "resize"
    width: int | None = Field(
        default=None, ge=8, le=8192, description="Pixels. Alone, without `height`: the height follows."
    )
    height: int | None = Field(
        default=None, ge=8, le=8192, description="Pixels. Alone, without `width`: the width follows."
    )
    max_side: int | None = Field(
        default=None,
        ge=8,
        le=8192,
        description="Instead of `width` and `height`: pixels of the longer side, at most; smaller pictures stay as "
        "they are.",
    )
    mode: ResizeMode = Field(
        default="fit",
        description="fit: keep the aspect ratio, inside width x height; fill: keep it, and cut off what is too long, "
        "on both sides alike; letterbox: keep it, padded to exactly width x height; stretch: exactly width x height.",
    )
    multiple_of: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Pad the picture on the right and below until both sides are a multiple of so many pixels.",
    )
    pad: int | None = Field(
        default=None, ge=0, le=255, description="Grey level of padding. Default: that of the stages before, else 114."
    )

    @model_validator(mode="after")
    def _one_size(self) -> ResizeOptions:
        if (self.max_side is None) == (self.width is None and self.height is None):
            raise ValueError("give `max_side`, or `width` and `height` or one of these")
        if self.mode != "fit" and (self.width is None or self.height is None):
            raise ValueError(f"`mode: {self.mode}` needs `width` and `height`")
        return self


class Resize(Reshaper[ResizeOptions]):
    """Resize the picture that later stages see; boxes still come back in source pixels."""

    Options = ResizeOptions
    example = """
    - {type: resize, max_side: 640}
    - {type: edges}
    """

    def reshape(self, view: View) -> View:
        """The view in the size asked for."""
        o = self.options
        width, height = o.width, o.height
        if o.max_side is not None:
            scale = min(1.0, o.max_side / max(view.width, view.height))
            width, height = max(1, round(view.width * scale)), max(1, round(view.height * scale))
        elif width is None:
            assert height is not None
            width = max(1, round(view.width * height / view.height))
        elif height is None:
            height = max(1, round(view.height * width / view.width))
        assert height is not None
        return view.resized(width, height, mode=o.mode, pad=o.pad, multiple_of=o.multiple_of)
