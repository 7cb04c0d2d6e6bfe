"""`decimate`: look at fewer frames."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import TIME_STEP, Timeline
from cvpipe.stages import Selector, StageOptions


class DecimateOptions(StageOptions):
    """Options of `decimate`: exactly one of `fps`, `every` and `keep`."""

    type: Literal["decimate"] = "decimate"
    fps: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Frames to look at per second of video, chosen by time. Frames are never made up.",
    )
    every: int | None = Field(
        default=None, ge=1, le=10**9, description="Look at one frame in so many: the first and each so-many-th after."
    )
    keep: Literal["keyframes", "references"] | None = Field(
        default=None,
        description="keyframes: those that decode by themselves, by far the cheapest to get. references: those that "
        "others are predicted from; the others are not even decoded.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("fps", "every", "keep") if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(f"`{name}`" for name in given) or "none"
            raise ValueError(f"give exactly one of `fps`, `every` and `keep`; got {what}")
        return self


class Decimate(Selector[DecimateOptions]):
    """Look at fewer frames: so many per second, one in so many, or only keyframes or reference frames."""

    Options = DecimateOptions
    example = """
    - {type: decimate, fps: 5}
    - {type: edges}
    """

    def select(self, frames: Timeline) -> npt.NDArray[np.bool_]:
        """Which frames to look at.

        With `fps`: the first frame of each interval of 1/fps seconds, counted from the first frame of the video.
        """
        options = self.options
        if options.keep is not None:
            return frames.keyframe.copy() if options.keep == "keyframes" else frames.reference.copy()
        if options.every is not None:
            return np.arange(len(frames)) % options.every == 0
        assert options.fps is not None
        # Times are rounded: 0.033333 s is tick 1 at 30 fps, not 0.
        ticks = np.floor((frames.time + TIME_STEP) * options.fps).astype(np.int64)
        return np.concatenate(([True], ticks[1:] != ticks[:-1])) if len(ticks) else np.zeros(0, bool)
