"""`channels`: later stages see colour or grey."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cvpipe.frames import PixelFormat, View
from cvpipe.stages import Reshaper, StageOptions

_FORMATS: dict[str, PixelFormat] = {"rgb": "rgb24", "gray": "gray"}


class ChannelsOptions(StageOptions):
    """Options of `channels`."""

    type: Literal["channels"] = "channels"
    to: Literal["rgb", "gray"] = Field(
        description="gray: luma only; a network that wants three channels gets three equal ones."
    )


class Channels(Reshaper[ChannelsOptions]):
    """Choose the colour channels that later stages see."""

    Options = ChannelsOptions

    def reshape(self, view: View) -> View:
        """The view in the format asked for."""
        return view.with_format(_FORMATS[self.options.to])
