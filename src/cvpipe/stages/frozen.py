"""`frozen`: the picture has not changed for a while."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.frames import Frame, Image, View
from cvpipe.results import Found
from cvpipe.stages import PictureStage, StageOptions

_SIDE = 320


class FrozenOptions(StageOptions):
    """Options of `frozen`."""

    type: Literal["frozen"] = "frozen"
    frames: int = Field(
        default=10,
        ge=1,
        le=250,
        description="A frame is frozen if it and so many before it look alike. So many are looked at again at the "
        "beginning of each chunk.",
    )
    level: float = Field(
        default=0.1,
        ge=0,
        le=255,
        description="Mean difference of grey up to which two frames look alike; noise is more.",
    )


class Frozen(PictureStage[FrozenOptions]):
    """Find where a camera or an encoder has hung up: frames that show what those before have shown, noise and all.

    Values, under the stage's name: `change`, mean difference of grey to the frame looked at before, 0 to 255, of a
    picture of at most 320 pixels a side, null where there is none; `frozen`, whether the last `frames` changes are all
    at most `level`. The finished job reports on how many frames it is.
    """

    Options = FrozenOptions
    example = """
    - {type: decimate, fps: 5}
    - {type: frozen, frames: 25}
    """
    tallies = ("frozen",)

    _last: Image | None = None
    _changes: deque[float]

    @property
    def memory(self) -> int:
        """The frames that must look alike, and the one before them."""
        return self.options.frames

    def view(self, upstream: View) -> View:
        """A small grey picture of what the steps before made, without padding."""
        view = upstream.cropped(*upstream.region).with_format("gray")
        return view if max(view.width, view.height) <= _SIDE else view.resized(_SIDE, _SIDE)

    def begin(self) -> None:
        """Forget the frames before."""
        self._last, self._changes = None, deque(maxlen=self.options.frames)

    def look(self, frame: Frame) -> Found:
        """`change` and `frozen`."""
        last, self._last = self._last, frame.shown.copy()
        if last is None:
            return Found(values={self.name: {"change": None, "frozen": False}})
        change = float(self._cv2.absdiff(self._last, last).mean(dtype=np.float64))
        self._changes.append(change)
        frozen = len(self._changes) == self.options.frames and max(self._changes) <= self.options.level
        return Found(values={self.name: {"change": round(change, 4), "frozen": frozen}})
