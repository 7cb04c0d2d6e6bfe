"""`channels`: later stages see other colours, grey, or one channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from pydantic import Field, model_validator

from cvpipe.frames import PixelFormat, View
from cvpipe.stages import Reshaper, StageOptions

_FORMATS: Final[dict[str, tuple[PixelFormat, tuple[str, ...]]]] = {
    "rgb": ("rgb24", ("r", "g", "b")),
    "bgr": ("bgr24", ("b", "g", "r")),
    "gray": ("gray", ()),
    "hsv": ("hsv", ("h", "s", "v")),
    "lab": ("lab", ("l", "a", "b")),
    "ycrcb": ("ycrcb", ("y", "cr", "cb")),
}


class ChannelsOptions(StageOptions):
    """Options of `channels`."""

    type: Literal["channels"] = "channels"
    to: Literal["rgb", "bgr", "gray", "hsv", "lab", "ycrcb"] = Field(
        description="rgb, bgr: colours in this order; gray: luma only; hsv, lab, ycrcb: OpenCV's 8-bit values (hue "
        "from 0 to 179, the others from 0 to 255). A network that wants three channels gets three equal ones of gray."
    )
    only: Literal["r", "g", "b", "h", "s", "v", "l", "a", "y", "cr", "cb"] | None = Field(
        default=None, description="The only channel of `to` that is shown, as if it were grey. Default: all."
    )

    @model_validator(mode="after")
    def _has_channel(self) -> ChannelsOptions:
        names = _FORMATS[self.to][1]
        if self.only is not None and self.only not in names:
            there = f"has {', '.join(names)}" if names else "is one channel already"
            raise ValueError(f"`only: {self.only}` is no channel of {self.to}, which {there}")
        return self


class Channels(Reshaper[ChannelsOptions]):
    """Choose the colours, or the one channel, that later stages see."""

    Options = ChannelsOptions
    example = """
    - {type: channels, to: gray}
    - {type: edges}
    """

    def reshape(self, view: View) -> View:
        """The view in the format asked for."""
        colours, names = _FORMATS[self.options.to]
        plane = None if self.options.only is None else names.index(self.options.only)
        return replace(view, format=colours, plane=plane, colourless=False)
