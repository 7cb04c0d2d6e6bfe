"""`keyframes`: pictures that stand for the video: of each shot, or at steady intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cvpipe.frames import Frame, View
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import FrameStage, MapSampling, StageOptions


class KeyframesOptions(StageOptions):
    """Options of `keyframes`."""

    type: Literal["keyframes"] = "keyframes"
    per: Literal["scene", "interval"] = Field(
        default="scene",
        description="scene: the first frame of each scene that the stage `scenes` finds. interval: the first in each "
        "span of `every_seconds`.",
    )
    scenes: str | None = Field(
        default=None, description="With `per: scene`: name of an earlier stage that finds cuts. Default: `scenes`."
    )
    every_seconds: float | None = Field(
        default=None, ge=0.04, le=1e6, description="With `per: interval`: length of a span, from the video's beginning."
    )
    max_side: int = Field(default=640, ge=16, le=8192, description="Longest side of a picture, in pixels.")

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if (self.per == "interval") != (self.every_seconds is not None):
            raise ValueError("`per: interval` and `every_seconds` go together")
        if self.per == "interval" and self.scenes is not None:
            raise ValueError("`scenes` goes with `per: scene`")
        return self


class Keyframes(FrameStage[KeyframesOptions]):
    """Keep a picture of the beginning of each shot, or one in so many seconds, as files of the job.

    Values, under the stage's name, of the frames that are kept: `file`, the name of the picture, `NAME-FRAME.png`;
    `contrast`, standard deviation of its grey, 0 to 255: a shot that begins black or white has next to none.
    """

    Options = KeyframesOptions
    example = """
    - {type: scenes, threshold: 27}
    - {type: keyframes, per: scene, max_side: 480}
    """

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    @property
    def hands_out_maps(self) -> bool:
        """The pictures."""
        return True

    def boundaries(self) -> tuple[str, ...]:
        """The stage that finds scenes."""
        return (self.options.scenes or "scenes",) if self.options.per == "scene" else ()

    def view(self, upstream: View) -> View:
        """What the steps before made, in colour, without padding, no larger than asked for."""
        view = upstream.cropped(*upstream.region).in_colours("bgr24")
        side = self.options.max_side
        return view if max(view.width, view.height) <= side else view.resized(side, side)

    def wants(self, record: FrameRecord, before: float | None) -> bool:
        """The frames that begin a scene or a span."""
        for stage in self.boundaries():
            scene = record.values.get(stage)
            # A frame without a score has none before it to be compared with: it begins a scene too.
            return isinstance(scene, Mapping) and (scene.get("cut") is True or scene.get("score") is None)
        assert self.options.every_seconds is not None
        return MapSampling(every_seconds=self.options.every_seconds).is_due(record.time, before)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:  # noqa: ARG002 - pixels only
        """The pictures, each its own map."""
        return [Found(values={self.name: self._told(frame)}, map=frame.shown.copy()) for frame in frames]

    def _told(self, frame: Frame) -> dict[str, Any]:
        grey = frame.shown.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
        return {"file": f"{self.name}-{frame.number:06d}.png", "contrast": round(float(grey.std()), 2)}
