"""`resize`: later stages see a smaller (or larger) picture."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cvpipe.frames import ResizeMode, View
from cvpipe.stages import Reshaper, StageOptions


class ResizeOptions(StageOptions):
    """Options of `resize`."""

    type: Literal["resize"] = "resize"
    width: int = Field(ge=8, le=8192, description="Pixels.")
    height: int = Field(ge=8, le=8192, description="Pixels.")
    mode: ResizeMode = Field(
        default="fit",
        description="fit: keep the aspect ratio, inside width x height; letterbox: the same, padded to exactly "
        "width x height; stretch: exactly width x height.",
    )
    pad: int = Field(default=114, ge=0, le=255, description="Grey level of letterbox padding.")


class Resize(Reshaper[ResizeOptions]):
    """Resize the picture that later stages see; boxes still come back in source pixels."""

    Options = ResizeOptions

    def reshape(self, view: View) -> View:
        """The view inside `width` x `height`."""
        o = self.options
        return view.resized(o.width, o.height, mode=o.mode, pad=o.pad)
