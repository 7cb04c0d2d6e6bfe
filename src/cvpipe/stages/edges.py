"""`edges`: how much of the picture is edge: Canny (1986), Sobel or Laplace."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame
from cvpipe.results import Found
from cvpipe.stages import MapOptions, PictureStage, refuse_idle

_OPTIONS_OF = {"canny": ("low", "high"), "sobel": ("threshold",), "laplacian": ("threshold",)}


class EdgesOptions(MapOptions):
    """Options of `edges`."""

    type: Literal["edges"] = "edges"
    method: Literal["canny", "sobel", "laplacian"] = Field(
        default="canny",
        description="canny: thin, connected edges. sobel: pixels with a steep gradient (3x3). laplacian: pixels that "
        "differ from their four neighbours: fine detail and noise.",
    )
    low: float = Field(
        default=100, ge=0, le=10_000, description="canny: gradient (Sobel 3x3) from which an edge goes on."
    )
    high: float = Field(
        default=200, ge=0, le=10_000, description="canny: gradient (Sobel 3x3) from which an edge begins."
    )
    threshold: float = Field(
        default=100, ge=0, le=10_000, description="sobel, laplacian: least magnitude of an edge pixel."
    )
    blur: float = Field(
        default=0, ge=0, le=20, description="Sigma in pixels of a Gaussian blur before; 0: none. Try 1 on noisy video."
    )

    @model_validator(mode="after")
    def _in_order(self) -> EdgesOptions:
        refuse_idle(self, "method", _OPTIONS_OF)
        if self.low > self.high:
            raise ValueError("`low` must not be greater than `high`")
        return self


class Edges(PictureStage[EdgesOptions]):
    """Measure the edges of a frame: a sharpness and clutter figure that drops on blur, fades and black frames.

    Values, under the stage's name: `density`, edge pixels as a share of all pixels, 0 to 1, of the picture that the
    steps before made of the frame (without padding); `centre`, [x, y], mean position of the edge pixels in pixels of
    the displayed source frame, null where there is no edge; but for `canny`, `strength`, the mean magnitude.
    Maps: edge pixels white; but for `canny`, the magnitude as grey, up to 255.
    """

    Options = EdgesOptions
    example = """
    - {type: resize, width: 640, height: 360}
    - {type: edges, low: 50}
    - {type: edges, name: gradients, method: sobel, threshold: 120}
    """

    def look(self, frame: Frame) -> Found:
        """`density`, `centre` and `strength`."""
        picture = frame.shown
        if self.options.blur:
            picture = self._cv2.GaussianBlur(picture, (0, 0), self.options.blur)
        if self.options.method == "canny":
            # L2gradient: the length of the gradient, as Canny wrote, not the sum of its parts.
            edges = self._cv2.Canny(picture, self.options.low, self.options.high, L2gradient=True) > 0
            value = _measured(frame, edges)
            shown = edges.astype(np.uint8) * 255
        else:
            magnitude = self._magnitude(picture)
            strength = round(float(magnitude.mean(dtype=np.float64)), 3)
            value = {**_measured(frame, magnitude >= self.options.threshold), "strength": strength}
            shown = np.minimum(magnitude, 255).astype(np.uint8)
        return Found(values={self.name: value}, map=shown if frame.wants_map else None)

    def _magnitude(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        cv2 = self._cv2
        if self.options.method == "laplacian":
            laplacian: npt.NDArray[np.float32] = np.abs(cv2.Laplacian(picture, cv2.CV_32F, ksize=1))
            return laplacian
        across, down = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=3)
        gradient: npt.NDArray[np.float32] = np.hypot(across, down)
        return gradient


def _measured(frame: Frame, edges: npt.NDArray[np.bool_]) -> dict[str, Any]:
    height, width = edges.shape
    count = int(edges.sum())
    centre = None
    if count:
        rows, columns = edges.sum(axis=1), edges.sum(axis=0)
        middle_x = float(columns @ np.arange(width)) / count + 0.5  # pixel i reaches from i to i + 1
        middle_y = float(rows @ np.arange(height)) / count + 0.5
        centre = [round(value, 2) for value in frame.to_source(np.array([middle_x, middle_y])).tolist()]
    return {"density": round(count / (width * height), 6), "centre": centre}
