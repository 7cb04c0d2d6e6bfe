"""`range`: look at a part of the video only."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, model_validator

from cvpipe.frames import Timeline
from cvpipe.stages import Selector, StageOptions


class RangeOptions(StageOptions):
    """Options of `range`."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    type: Literal["range"] = "range"
    start: float | None = Field(
        default=None, ge=0, le=1e7, alias="from", description="Seconds since the first frame. Default: the beginning."
    )
    stop: float | None = Field(
        default=None, gt=0, le=1e7, alias="to", description="Seconds; a frame at this time is out. Default: the end."
    )
    from_frame: int | None = Field(default=None, ge=0, le=10**9, description="Number of the first frame.")
    to_frame: int | None = Field(default=None, ge=1, le=10**9, description="Number of the first frame that is out.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        seconds = (self.start, self.stop)
        numbers = (self.from_frame, self.to_frame)
        if (seconds == (None, None)) == (numbers == (None, None)):
            raise ValueError("give `from` and `to` (seconds), or `from_frame` and `to_frame` (numbers)")
        if self.stop is not None and self.stop <= (self.start or 0):
            raise ValueError("`to` must be greater than `from`")
        if self.to_frame is not None and self.to_frame <= (self.from_frame or 0):
            raise ValueError("`to_frame` must be greater than `from_frame`")
        return self


class Range(Selector[RangeOptions]):
    """Look at the frames from one time or number up to, without, another."""

    Options = RangeOptions
    example = """
    - {type: range, from: 60, to: 120}
    - {type: edges}
    """
    is_span = True

    def select(self, frames: Timeline) -> npt.NDArray[np.bool_]:
        """Keep what lies in the range."""
        o = self.options
        by_time = (frames.time >= (o.start or 0)) & (frames.time < (np.inf if o.stop is None else o.stop))
        by_number = (frames.number >= (o.from_frame or 0)) & (
            frames.number < (np.inf if o.to_frame is None else o.to_frame)
        )
        return by_time & by_number
