"""`scenes`: where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, View
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools

_SIDE = 256
_HUES = 180


class ScenesOptions(StageOptions):
    """Options of `scenes`."""

    type: Literal["scenes"] = "scenes"
    threshold: float = Field(
        default=27,
        gt=0,
        le=255,
        description="A frame that differs from the one before by at least this begins a scene.",
    )


class Scenes(FrameStage[ScenesOptions]):
    """Find cuts: frames that look all different from the frame looked at before.

    Values, under the stage's name: `score`, 0 to 255, the mean of the mean absolute differences in hue, saturation and
    value (0 to 179 and 0 to 255) of a picture of at most 256 pixels a side, null where there is no frame before or it
    could not be decoded; `cut`, whether the score reaches the threshold.
    Source: PySceneDetect's content detector; but hue is an angle here (179 is next to 0), which makes dark and red
    pictures less restless.
    """

    Options = ScenesOptions
    example = """
    - {type: scenes, threshold: 27}
    """
    tallies = ("cut",)

    _cv2: Any
    _last: npt.NDArray[np.int16] | None = None

    @property
    def memory(self) -> int:
        """The frame before."""
        return 1

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def open(self, tools: Tools) -> None:
        """Take OpenCV."""
        self._cv2 = tools.cv2

    def view(self, upstream: View) -> View:
        """A small picture of what the steps before made, in colour, without padding."""
        view = upstream.cropped(*upstream.region).in_colours("bgr24")
        return view if max(view.width, view.height) <= _SIDE else view.resized(_SIDE, _SIDE)

    def begin(self) -> None:
        """Forget the frame before."""
        self._last = None

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:  # noqa: ARG002 - pixels only
        """`score` and `cut` of each frame."""
        return [Found(values={self.name: self._compare(frame)}) for frame in frames]

    def _compare(self, frame: Frame) -> dict[str, Any]:
        hsv = self._cv2.cvtColor(frame.image, self._cv2.COLOR_BGR2HSV).astype(np.int16)
        last, self._last = self._last, hsv
        if last is None:
            return {"score": None, "cut": False}
        change = np.abs(hsv - last)
        change[..., 0] = np.minimum(change[..., 0], _HUES - change[..., 0])
        score = round(float(change.mean()), 2)
        return {"score": score, "cut": score >= self.options.threshold}
