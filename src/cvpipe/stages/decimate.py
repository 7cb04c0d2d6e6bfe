"""`decimate`: look at fewer frames, evenly in time."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Timeline
from cvpipe.stages import Selector, StageOptions


class DecimateOptions(StageOptions):
    """Options of `decimate`."""

    type: Literal["decimate"] = "decimate"
    fps: float = Field(gt=0, le=1000, description="Frames to look at per second of video. Frames are never made up.")


class Decimate(Selector[DecimateOptions]):
    """Keep at most `fps` frames per second, chosen by time (right for variable frame rate too)."""

    Options = DecimateOptions

    def select(self, frames: Timeline) -> npt.NDArray[np.bool_]:
        """Keep the first frame of each interval of 1/fps seconds, counted from the first frame of the video."""
        # A frame that lies a rounding error before a boundary belongs behind it: 1/3 s at 3 fps is tick 1, not 0.
        ticks = np.floor(frames.time * self.options.fps + 1e-6).astype(np.int64)
        return np.concatenate(([True], ticks[1:] != ticks[:-1])) if len(ticks) else np.zeros(0, bool)
