"""`brightness`: how bright each frame is."""

from collections.abc import Sequence
from typing import Literal

from cvpipe.frames import Frame
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions


class BrightnessOptions(StageOptions):
    """Options of `brightness`."""

    type: Literal["brightness"] = "brightness"


class Brightness(FrameStage[BrightnessOptions]):
    """Measure the mean brightness of each frame (0 to 255)."""

    Options = BrightnessOptions

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The mean over all pixels and channels."""
        return [Found(values={self.name: round(float(frame.image.mean()), 2)}) for frame in frames]
