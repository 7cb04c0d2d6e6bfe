"""`lines`: straight lines, by the Hough transform or the line segment detector LSD."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame, Image
from cvpipe.results import Found, Objects
from cvpipe.stages import PictureStage, StageOptions, refuse_idle

_OPTIONS_OF = {
    "hough": ("votes",),
    "probabilistic": ("votes", "min_length", "max_gap"),
    "lsd": ("min_length",),
}

Segments = npt.NDArray[np.float64]
"""(n, 4): x1, y1, x2, y2 in the picture."""


class LinesOptions(StageOptions):
    """Options of `lines`."""

    type: Literal["lines"] = "lines"
    method: Literal["hough", "probabilistic", "lsd"] = Field(
        default="probabilistic",
        description="hough: lines through the whole picture. probabilistic: segments, where edge pixels vote for them "
        "(Matas 2000). lsd: segments to a fraction of a pixel, with nothing to set (Grompone von Gioi 2012).",
    )
    low: float = Field(default=50, ge=0, le=10_000, description="Gradient (Sobel 3x3) from which an edge goes on.")
    high: float = Field(default=150, ge=0, le=10_000, description="Gradient (Sobel 3x3) from which an edge begins.")
    votes: int = Field(
        default=60, ge=2, le=100_000, description="hough, probabilistic: edge pixels that a line must have, at least."
    )
    min_length: float = Field(
        default=40, ge=1, le=100_000, description="probabilistic, lsd: shortest segment, in pixels of the picture seen."
    )
    max_gap: float = Field(
        default=5, ge=0, le=10_000, description="probabilistic: largest hole in a segment, in pixels."
    )
    max_lines: int = Field(default=100, ge=1, le=2000, description="At most so many, the longest first.")

    @model_validator(mode="after")
    def _in_order(self) -> LinesOptions:
        refuse_idle(self, "method", _OPTIONS_OF)
        if self.low > self.high:
            raise ValueError("`low` must not be greater than `high`")
        return self


class Lines(PictureStage[LinesOptions]):
    """Find straight lines: a box around each, its end points as keypoints, its angle and length.

    Objects have the label `line`; `score` is the share of the line's length that lies on edges (Canny, to a pixel).
    Values of each, under the stage's name: `angle`, degrees from the x axis, clockwise on the screen, 0 to 180;
    `length`, in pixels of the displayed source frame. Longest first; with `hough` the one with the most votes.
    """

    Options = LinesOptions
    example = """
    - {type: resize, max_side: 960}
    - {type: lines, method: lsd, min_length: 60}
    """

    @property
    def finds_objects(self) -> bool:
        """Lines."""
        return True

    def look(self, frame: Frame) -> Found:
        """The lines of a frame."""
        picture = frame.shown
        edges = self._cv2.Canny(picture, self.options.low, self.options.high, L2gradient=True)
        segments = self._segments(picture, edges)
        scores = self._on_edges(segments, edges)
        ends = frame.to_source(segments).astype(np.float64)
        step = ends[:, 2:] - ends[:, :2]
        lengths = np.hypot(step[:, 0], step[:, 1])
        if self.options.method != "hough":
            order = np.lexsort((*ends.T[::-1], -lengths))
            ends, step, lengths, scores = ends[order], step[order], lengths[order], scores[order]
        count = min(len(ends), self.options.max_lines)
        angles = np.degrees(np.arctan2(step[:, 1], step[:, 0])).round(2) % 180
        found = Objects.make(
            stage=self.name,
            box=np.concatenate((np.minimum(ends[:, :2], ends[:, 2:]), np.maximum(ends[:, :2], ends[:, 2:])), axis=1)[
                :count
            ],
            score=scores[:count],
            label=("line",) * count,
            keypoints=[[[x1, y1, 1], [x2, y2, 1]] for x1, y1, x2, y2 in ends[:count].tolist()],
            values=[
                {self.name: {"angle": angle, "length": round(length, 2)}}
                for angle, length in zip(angles[:count].tolist(), lengths[:count].tolist(), strict=True)
            ],
        )
        return Found(added=found)

    def _segments(self, picture: Image, edges: Image) -> Segments:
        """Middles of pixels lie at halves, as everywhere; OpenCV's at whole numbers."""
        cv2, options = self._cv2, self.options
        if options.method == "lsd":
            found = cv2.createLineSegmentDetector().detect(picture)[0]
            segments = np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64)
            long = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1]) >= options.min_length
            return segments[long] + 0.5
        if options.method == "probabilistic":
            found = cv2.HoughLinesP(
                edges, 1, np.pi / 180, options.votes, minLineLength=options.min_length, maxLineGap=options.max_gap
            )
            return np.zeros((0, 4)) if found is None else found.reshape(-1, 4) + 0.5
        found = cv2.HoughLines(edges, 1, np.pi / 180, options.votes)
        height, width = picture.shape
        lines = [] if found is None else found.reshape(-1, 2)[: options.max_lines].astype(np.float64).tolist()
        parts = (_through(rho, theta, width, height) for rho, theta in lines)
        return np.array([part for part in parts if part is not None], np.float64).reshape(-1, 4)

    def _on_edges(self, segments: Segments, edges: Image) -> npt.NDArray[np.float64]:
        near = self._cv2.dilate(edges, np.ones((3, 3), np.uint8)) > 0
        height, width = near.shape
        scores = np.zeros(len(segments))
        for i, (x1, y1, x2, y2) in enumerate(segments):
            along = np.linspace(0, 1, int(np.hypot(x2 - x1, y2 - y1)) + 2)
            columns = np.clip((x1 + along * (x2 - x1)).astype(np.int64), 0, width - 1)
            rows = np.clip((y1 + along * (y2 - y1)).astype(np.int64), 0, height - 1)
            scores[i] = near[rows, columns].mean()
        return scores


def _through(rho: float, theta: float, width: int, height: int) -> list[float] | None:
    """What a line x cos(theta) + y sin(theta) = rho, between middles of pixels, has in common with the picture."""
    cos, sin = np.cos(theta), np.sin(theta)
    near, far = -np.inf, np.inf
    for start, step, limit in ((rho * cos + 0.5, -sin, width), (rho * sin + 0.5, cos, height)):
        if abs(step) < 1e-9:
            if not 0 <= start <= limit:
                return None
            continue
        one, other = sorted((-start / step, (limit - start) / step))
        near, far = max(near, one), min(far, other)
    if far <= near:
        return None
    x, y = rho * cos + 0.5, rho * sin + 0.5
    return [float(value) for at in (near, far) for value in (x - at * sin, y + at * cos)]
