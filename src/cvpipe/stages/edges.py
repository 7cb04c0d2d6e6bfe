"""`edges`: how much of the picture is edge, after Canny (1986)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from cvpipe.frames import Frame, View
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools


class EdgesOptions(StageOptions):
    """Options of `edges`."""

    type: Literal["edges"] = "edges"
    low: float = Field(default=100, ge=0, le=10_000, description="Gradient (Sobel 3x3) from which an edge goes on.")
    high: float = Field(default=200, ge=0, le=10_000, description="Gradient (Sobel 3x3) from which an edge begins.")
    blur: float = Field(
        default=0, ge=0, le=20, description="Sigma in pixels of a Gaussian blur before; 0: none. Try 1 on noisy video."
    )

    @model_validator(mode="after")
    def _in_order(self) -> EdgesOptions:
        if self.low > self.high:
            raise ValueError("`low` must not be greater than `high`")
        return self


class Edges(FrameStage[EdgesOptions]):
    """Measure the edges of a frame: a sharpness and clutter figure that drops on blur, fades and black frames.

    Values, under the stage's name: `density`, edge pixels as a share of all pixels, 0 to 1, of the picture that the
    steps before made of the frame (without padding); `centre`, [x, y], mean position of the edge pixels in pixels of
    the displayed source frame, null where there is no edge.
    """

    Options = EdgesOptions
    example = """
    - {type: resize, width: 640, height: 360}
    - {type: edges, low: 50}
    """

    _cv2: Any

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def open(self, tools: Tools) -> None:
        """Take OpenCV."""
        self._cv2 = tools.cv2

    def view(self, upstream: View) -> View:
        """What the steps before made, in grey."""
        return upstream.with_format("gray")

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:  # noqa: ARG002 - pixels only
        """`density` and `centre` of each frame."""
        return [Found(values={self.name: self._measure(frame)}) for frame in frames]

    def _measure(self, frame: Frame) -> dict[str, Any]:
        x, y, width, height = frame.view.content
        picture = np.ascontiguousarray(frame.image[y : y + height, x : x + width])
        if self.options.blur:
            picture = self._cv2.GaussianBlur(picture, (0, 0), self.options.blur)
        # L2gradient: the length of the gradient, as Canny wrote, not the sum of its parts.
        edges = self._cv2.Canny(picture, self.options.low, self.options.high, L2gradient=True) > 0
        count = int(edges.sum())
        centre = None
        if count:
            rows, columns = edges.sum(axis=1), edges.sum(axis=0)
            middle_x = float(columns @ np.arange(width)) / count + 0.5  # pixel i reaches from i to i + 1
            middle_y = float(rows @ np.arange(height)) / count + 0.5
            point = frame.view.to_source(np.array([x + middle_x, y + middle_y]))
            centre = [round(value, 2) for value in point.tolist()]
        return {"density": round(count / (width * height), 6), "centre": centre}
