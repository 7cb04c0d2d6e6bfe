"""Pictures in memory: which pixels a stage asks for, and the pixels themselves.

A `View` is the order a stage gives to the decoder: a canvas of so many pixels, where on it the displayed source
frame goes, and the pixel format. The decoder makes each distinct view of a frame once, by one resize from the decoded
picture, however many pre-processing steps led to it. `View` also maps coordinates back, so that everything
reported is in pixels of the displayed source frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

PixelFormat = Literal["rgb24", "bgr24", "gray"]
ResizeMode = Literal["fit", "letterbox", "stretch"]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """The picture that a stage wants to see of each frame.

    source: (width, height) of the displayed source frame, in pixels.
    width, height: of the canvas, in pixels.
    content: (x, y, width, height) of the whole source frame on the canvas, in pixels; the rest is `pad`.
    format: the canvas is uint8, (height, width, 3) for rgb24 and bgr24, (height, width) for gray.
    colourless: three equal channels made from luma (a `gray` picture shown to a stage that wants three).
    """

    source: tuple[int, int]
    width: int
    height: int
    content: tuple[int, int, int, int]
    format: PixelFormat = "bgr24"
    pad: int = 114
    colourless: bool = False

    def __post_init__(self) -> None:
        x, y, width, height = self.content
        if min(self.width, self.height, width, height, *self.source) < 1 or x < 0 or y < 0:
            raise ValueError(f"a view needs positive sizes, got {self}")
        if x + width > self.width or y + height > self.height:
            raise ValueError(f"the content {self.content} leaves the {self.width}x{self.height} canvas")

    @classmethod
    def of(cls, width: int, height: int, *, format: PixelFormat = "bgr24") -> View:
        """The displayed source frame as it is: `width` x `height` pixels."""
        return cls(source=(width, height), width=width, height=height, content=(0, 0, width, height), format=format)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (height, width) or (height, width, 3)."""
        return (self.height, self.width) if self.format == "gray" else (self.height, self.width, 3)

    @property
    def nbytes(self) -> int:
        """Bytes of one picture."""
        return int(np.prod(self.shape))

    def with_format(self, format: PixelFormat) -> View:
        """The same geometry in another pixel format; a view that was gray stays without colour."""
        if format == self.format:
            return self
        colourless = format != "gray" and (self.colourless or self.format == "gray")
        return replace(self, format=format, colourless=colourless)

    def resized(
        self,
        width: int,
        height: int,
        *,
        mode: ResizeMode = "fit",
        anchor: Literal["centre", "top-left"] = "centre",
        pad: int = 114,
        multiple_of: int = 1,
    ) -> View:
        """This view resized to at most (`fit`), inside (`letterbox`) or exactly (`stretch`) width x height.

        `fit` keeps the aspect ratio and returns a canvas no larger than asked; `letterbox` keeps it and fills the rest
        of the canvas with `pad`; `stretch` ignores it. `multiple_of` rounds the canvas up with padding.
        """
        if mode == "stretch":
            scale_x, scale_y = width / self.width, height / self.height
        else:
            scale_x = scale_y = min(width / self.width, height / self.height)
        inner_w = max(1, min(width, round(self.width * scale_x)))
        inner_h = max(1, min(height, round(self.height * scale_y)))
        canvas_w, canvas_h = (width, height) if mode == "letterbox" else (inner_w, inner_h)
        canvas_w = -(-canvas_w // multiple_of) * multiple_of
        canvas_h = -(-canvas_h // multiple_of) * multiple_of
        centred = anchor == "centre" and mode == "letterbox"
        off_x = (canvas_w - inner_w) // 2 if centred else 0
        off_y = (canvas_h - inner_h) // 2 if centred else 0
        x, y, content_w, content_h = self.content
        left = off_x + round(x * inner_w / self.width)
        top = off_y + round(y * inner_h / self.height)
        new_w = min(max(1, round(content_w * inner_w / self.width)), canvas_w - left)
        new_h = min(max(1, round(content_h * inner_h / self.height)), canvas_h - top)
        return replace(self, width=canvas_w, height=canvas_h, content=(left, top, new_w, new_h), pad=pad)

    def to_source(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Map canvas coordinates to the displayed source frame.

        points: (..., 2) x, y or (..., 4) x1, y1, x2, y2. Returns float32 of the same shape, clipped to the source.
        """
        return _affine(points, self.content, (0, 0, *self.source), self.source)

    def from_source(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Map coordinates of the displayed source frame to the canvas; the inverse of `to_source`."""
        return _affine(points, (0, 0, *self.source), self.content, (self.width, self.height))


def _affine(
    points: npt.NDArray[np.floating],
    src: tuple[int, int, int, int],
    dst: tuple[int, int, int, int],
    limit: tuple[int, int],
) -> npt.NDArray[np.float32]:
    shape = np.shape(points)
    pairs = np.asarray(points, dtype=np.float64).reshape(*shape[:-1], shape[-1] // 2, 2)
    scale = (dst[2] / src[2], dst[3] / src[3])
    moved = (pairs - src[:2]) * scale + dst[:2]
    clipped: npt.NDArray[np.float32] = np.clip(moved, 0, limit).astype(np.float32).reshape(shape)
    return clipped


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video as a stage sees it.

    number: of the source frame in display order, from 0. pts: in the stream's time base. time: seconds since the
    first frame.
    image: uint8 array of `view.shape`, read-only; valid only during the call it is handed to (shared memory).
    """

    number: int
    pts: int
    time: float
    view: View
    image: Image

    def __post_init__(self) -> None:
        if self.image.shape != self.view.shape or self.image.dtype != np.uint8:
            raise ValueError(f"wanted uint8 {self.view.shape}, got {self.image.dtype} {self.image.shape}")

    def __repr__(self) -> str:
        return f"Frame(number={self.number}, time={self.time:.3f}, image=uint8{list(self.image.shape)})"
