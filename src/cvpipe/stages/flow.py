"""`flow`: how the picture has moved since the frame looked at before, and how the camera has."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame, Image, View
from cvpipe.results import Found
from cvpipe.stages import MapOptions, PictureStage, refuse_idle

_OPTIONS_OF = {"dense": (), "sparse": ("points",)}
_LEAST_POINTS = 8
_FULL_SPEED = 16  # pixels of the picture seen, shown as the brightest colour of a map

Field2 = npt.NDArray[np.float32]
"""(height, width, 2): how far each pixel has moved, across and down."""


class FlowOptions(MapOptions):
    """Options of `flow`."""

    type: Literal["flow"] = "flow"
    method: Literal["dense", "sparse"] = Field(
        default="dense",
        description="dense: every pixel (DIS, Kroeger 2016). sparse: corners that are followed (Lucas-Kanade): faster, "
        "and what large plain areas do plays no part.",
    )
    max_side: int = Field(default=320, ge=64, le=1920, description="Longest side of the picture looked at, in pixels.")
    points: int = Field(default=300, ge=8, le=5000, description="sparse: corners to follow at most.")
    still: float = Field(
        default=1.0, ge=0, description="Pixels of the displayed source frame below which something has not moved."
    )

    @model_validator(mode="after")
    def _belong(self) -> FlowOptions:
        refuse_idle(self, "method", _OPTIONS_OF)
        return self


class Flow(PictureStage[FlowOptions]):
    """Measure motion since the frame looked at before, and how the camera has moved.

    Values, under the stage's name, in pixels of the displayed source frame: `speed`, the mean length of the motion;
    `moving`, the share of pixels (or points) that have moved, 0 to 1; `camera`: the motion that most of the picture
    shares, `dx` and `dy` of its middle (content that moves to the right has a positive dx: the camera turns left),
    `turn`, in degrees, clockwise on the screen, `zoom`, 1 where nothing grows, and `support`, the share that follows
    it; `own`, the share that moves otherwise than the camera. All are null where there is no frame before; `camera`
    where too little can be followed. Maps (`dense`): the direction as hue, the speed as brightness.
    """

    Options = FlowOptions
    example = """
    - {type: decimate, fps: 10}
    - {type: flow, method: sparse}
    - {type: flow, name: motion-map, maps: {every_seconds: 5}}
    """

    _last: Image | None = None

    @property
    def memory(self) -> int:
        """The frame before."""
        return 1

    def view(self, upstream: View) -> View:
        """A small grey picture of what the steps before made, without padding."""
        view = upstream.cropped(*upstream.region).with_format("gray")
        side = self.options.max_side
        return view if max(view.width, view.height) <= side else view.resized(side, side)

    def begin(self) -> None:
        """Forget the frame before."""
        self._last = None

    def look(self, frame: Frame) -> Found:
        """How the picture has moved."""
        last, self._last = self._last, frame.shown.copy()
        if last is None:
            return Found(values={self.name: {"speed": None, "moving": None, "camera": None, "own": None}})
        scale = np.divide(frame.view.region[2:], frame.view.content[2:])
        if self.options.method == "sparse":
            at, moved = self._followed(last, self._last)
            return Found(values={self.name: self._told(at, moved, scale, frame)})
        field = self._field(last, self._last)
        rows, columns = np.mgrid[2 : field.shape[0] : 4, 2 : field.shape[1] : 4]
        at = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32)
        value = self._told(at, field[rows, columns].reshape(-1, 2), scale, frame)
        length = np.hypot(field[..., 0] * scale[0], field[..., 1] * scale[1])
        value["speed"] = round(float(length.mean()), 3)
        value["moving"] = round(float((length >= self.options.still).mean()), 6)
        return Found(values={self.name: value}, map=self._shown(field) if frame.wants_map else None)

    def _field(self, last: Image, now: Image) -> Field2:
        cv2 = self._cv2
        # Made anew: one that is used again begins with what it found before.
        solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        field: Field2 = solver.calc(last, now, None)
        return field

    def _followed(self, last: Image, now: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Corners of the last picture that are found again in this one and back: (n, 2), and how far they moved."""
        cv2 = self._cv2
        none = np.zeros((0, 2), np.float32)
        corners = cv2.goodFeaturesToTrack(last, self.options.points, 0.01, 7)
        if corners is None:
            return none, none
        there, found, _ = cv2.calcOpticalFlowPyrLK(last, now, corners, None, winSize=(15, 15), maxLevel=4)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(now, last, there, None, winSize=(15, 15), maxLevel=4)
        corners, there, back = (points.reshape(-1, 2) for points in (corners, there, back))
        same = np.hypot(*(back - corners).T) < 0.5
        kept = same & (found.ravel() == 1) & (found_back.ravel() == 1)
        return corners[kept], there[kept] - corners[kept]

    def _told(
        self, at: npt.NDArray[np.float32], moved: npt.NDArray[np.float32], scale: npt.NDArray[np.float64], frame: Frame
    ) -> dict[str, Any]:
        still, count = self.options.still, len(at)
        length = np.hypot(moved[:, 0] * scale[0], moved[:, 1] * scale[1])
        value: dict[str, Any] = {
            "speed": round(float(length.mean()), 3) if count else 0.0,
            "moving": round(float((length >= still).mean()), 6) if count else 0.0,
            "camera": None,
            "own": None,
        }
        if count < _LEAST_POINTS:
            return value
        # In source pixels, about the middle of the picture. OpenCV's RANSAC draws the same lots each time.
        start = (at + 0.5) * scale - np.divide(frame.view.region[2:], 2)
        end = start + moved * scale
        matrix, inside = self._cv2.estimateAffinePartial2D(
            start, end, method=self._cv2.RANSAC, ransacReprojThreshold=max(still, float(scale.max())), maxIters=500
        )
        if matrix is None:
            return value
        support = float(inside.mean())
        value["camera"] = {
            "dx": round(float(matrix[0, 2]), 2),
            "dy": round(float(matrix[1, 2]), 2),
            "turn": round(float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), 3),
            "zoom": round(float(np.hypot(matrix[0, 0], matrix[1, 0])), 5),
            "support": round(support, 4),
        }
        value["own"] = round(1 - support, 4)
        return value

    def _shown(self, field: Field2) -> Image:
        angle = np.degrees(np.arctan2(field[..., 1], field[..., 0])) % 360 / 2
        speed = np.minimum(np.hypot(field[..., 0], field[..., 1]) / _FULL_SPEED, 1) * 255
        hsv = np.stack([angle, np.full_like(angle, 255), speed], axis=-1).astype(np.uint8)
        shown: Image = self._cv2.cvtColor(hsv, self._cv2.COLOR_HSV2BGR)
        return shown
