"""`circles`: circles, by the Hough transform."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame, Image
from cvpipe.results import Found, Objects
from cvpipe.stages import PictureStage, StageOptions


class CirclesOptions(StageOptions):
    """Options of `circles`."""

    type: Literal["circles"] = "circles"
    gradient: float = Field(
        default=300, gt=0, le=10_000, description="Gradient (Scharr 3x3) from which an edge begins; half goes on."
    )
    roundness: float = Field(
        default=0.85, gt=0, lt=1, description="Least measure of perfection; 1 is a perfect circle."
    )
    min_radius: int = Field(default=8, ge=2, le=10_000, description="In pixels of the picture seen.")
    max_radius: int | None = Field(
        default=None, ge=2, le=10_000, description="In pixels of the picture seen. Default: as large as fits."
    )
    min_distance: float = Field(
        default=16, ge=1, le=10_000, description="Between the middles of two circles, in pixels of the picture seen."
    )
    blur: float = Field(default=1, ge=0, le=20, description="Sigma in pixels of a Gaussian blur before; 0: none.")
    max_circles: int = Field(default=100, ge=1, le=2000, description="At most so many, the best first.")

    @model_validator(mode="after")
    def _in_order(self) -> CirclesOptions:
        if self.max_radius is not None and self.max_radius < self.min_radius:
            raise ValueError("`max_radius` must not be less than `min_radius`")
        return self


class Circles(PictureStage[CirclesOptions]):
    """Find circles: a box around each, its middle as a keypoint, its radius.

    Objects have the label `circle`; `score` is the share of the circle that lies on edges (Canny, to a pixel), the
    greatest first. Values of each, under the stage's name: `radius`, in pixels of the displayed source frame.
    Source: OpenCV's HOUGH_GRADIENT_ALT.
    """

    Options = CirclesOptions
    example = """
    - {type: resize, max_side: 960}
    - {type: circles, min_radius: 10, max_radius: 80}
    """

    @property
    def finds_objects(self) -> bool:
        """Circles."""
        return True

    def look(self, frame: Frame) -> Found:
        """The circles of a frame."""
        cv2, options = self._cv2, self.options
        picture = frame.shown
        if options.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), options.blur)
        found = cv2.HoughCircles(
            picture, cv2.HOUGH_GRADIENT_ALT, 1.5, options.min_distance,
            param1=options.gradient, param2=options.roundness,
            minRadius=options.min_radius, maxRadius=options.max_radius or 0,
        )  # fmt: skip
        circles = np.zeros((0, 3)) if found is None else found.reshape(-1, found.shape[-1])[:, :3].astype(np.float64)
        circles[:, :2] += 0.5  # OpenCV's middles of pixels lie at whole numbers
        scores = self._on_edges(circles, picture)
        order = np.lexsort((*circles.T[::-1], -scores))[: options.max_circles]
        circles, scores = circles[order], scores[order]
        x, y, radius = circles.T
        box = frame.to_source(np.stack([x - radius, y - radius, x + radius, y + radius], axis=1)).astype(np.float64)
        middle = frame.to_source(circles[:, :2]).tolist()
        scale = np.sqrt(np.prod(np.divide(frame.view.region[2:], frame.view.content[2:])))
        objects = Objects.make(
            stage=self.name,
            box=box,
            score=scores,
            label=("circle",) * len(box),
            keypoints=[[[*point, 1]] for point in middle],
            values=[{self.name: {"radius": round(value * scale, 2)}} for value in radius.tolist()],
        )
        return Found(added=objects)

    def _on_edges(self, circles: npt.NDArray[np.float64], picture: Image) -> npt.NDArray[np.float64]:
        cv2, gradient = self._cv2, self.options.gradient
        across, down = (cv2.Scharr(picture, cv2.CV_16S, *axes) for axes in ((1, 0), (0, 1)))
        edges = cv2.Canny(across, down, gradient / 2, gradient, L2gradient=True)
        near = cv2.dilate(edges, np.ones((3, 3), np.uint8)) > 0
        height, width = near.shape
        scores = np.zeros(len(circles))
        for i, (x, y, radius) in enumerate(circles):
            turn = np.linspace(0, 2 * np.pi, int(2 * np.pi * radius) + 1, endpoint=False)
            columns, rows = np.floor(x + radius * np.cos(turn)), np.floor(y + radius * np.sin(turn))
            inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
            scores[i] = near[rows[inside].astype(np.int64), columns[inside].astype(np.int64)].sum() / len(turn)
        return scores
