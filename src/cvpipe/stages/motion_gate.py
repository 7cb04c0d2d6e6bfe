"""`motion_gate`: later stages look at frames only while something moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, View
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools

_SIDE = 320
_BLUR_SIGMA = 1.5


class MotionGateOptions(StageOptions):
    """Options of `motion_gate`."""

    type: Literal["motion_gate"] = "motion_gate"
    threshold: float = Field(
        default=0.01, gt=0, le=1, description="Share of pixels that must have changed since the frame before."
    )
    level: int = Field(default=15, ge=1, le=254, description="A pixel has changed if its grey has by more than this.")
    hold_frames: int = Field(
        default=0,
        ge=0,
        le=250,
        description="The gate stays open for so many frames after motion. So many are looked at again at the beginning "
        "of each chunk.",
    )


class MotionGate(FrameStage[MotionGateOptions]):
    """Let later stages look only at frames on which something has moved since the frame before.

    Compares grey pictures of at most 320 pixels a side, blurred. Values, under the stage's name: `motion`, the share of
    pixels that have changed, 0 to 1, null where there is no frame before or it could not be decoded (such a frame is
    always looked at); `skipped`, whether later stages did not look. The finished job reports the fraction skipped.
    """

    Options = MotionGateOptions
    example = """
    - {type: motion_gate, threshold: 0.01, hold_frames: 5}
    - {type: detect, model: yolox-nano}
    """
    skips = True
    tallies = ("skipped",)

    _cv2: Any
    _last: npt.NDArray[np.uint8] | None = None
    _open_for = 0

    @property
    def memory(self) -> int:
        """The frame before, and those that may hold the gate open."""
        return 1 + self.options.hold_frames

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def open(self, tools: Tools) -> None:
        """Take OpenCV."""
        self._cv2 = tools.cv2

    def view(self, upstream: View) -> View:
        """A small grey picture of what the steps before made, without padding."""
        view = upstream.cropped(*upstream.region).with_format("gray")
        return view if max(view.width, view.height) <= _SIDE else view.resized(_SIDE, _SIDE)

    def begin(self) -> None:
        """Forget the frames before."""
        self._last, self._open_for = None, 0

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:  # noqa: ARG002 - pixels only
        """`motion` of each frame, and whether it is to be skipped."""
        return [self._judge(frame) for frame in frames]

    def _judge(self, frame: Frame) -> Found:
        picture = self._cv2.GaussianBlur(frame.image, (0, 0), _BLUR_SIGMA)
        last, self._last = self._last, picture
        motion = None if last is None else float((self._cv2.absdiff(picture, last) > self.options.level).mean())
        if motion is None or motion >= self.options.threshold:
            self._open_for = 1 + self.options.hold_frames
        skipped = self._open_for == 0
        self._open_for = max(0, self._open_for - 1)
        value = {"motion": None if motion is None else round(motion, 6), "skipped": skipped}
        return Found(values={self.name: value}, skip=skipped)
