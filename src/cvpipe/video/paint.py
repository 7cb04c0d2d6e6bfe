"""From the decoder's picture to a view: one resize, then what the view asks for. Runs in decoder processes only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type

from cvpipe.frames import View
from cvpipe.video.filters import Image, Straightener, make_filter, paste, to_format
from cvpipe.video.masks import fill
from cvpipe.video.scaling import Packed, Rectangle, Scaler

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_LENS_MARGIN = 2
"""Pixels of the source around what a straightened picture is made of, for interpolation."""
_STEP = 16
_STRIDE = 8.0
"""A straight edge under a lens is followed in steps of so many pixels."""


class Painter:
    """Paints frames onto the canvas of one view."""

    def __init__(self, view: View, *, rotation: int, mirrored: bool) -> None:
        self._view = view
        self._turns = rotation // 90
        self._mirrored = mirrored
        self._filters = [make_filter(wanted) for wanted in view.filters]
        self._is_gray = view.plane is None and (view.format == "gray" or view.colourless)
        self._is_converted = bool(view.filters) or view.format in ("hsv", "lab", "ycrcb")
        self._straighten: Straightener | None = None
        if view.lens is None:
            self._scaler = self._make_scaler(view.region, view.content[2:])
        else:
            self._prepare_lens(view)
        self._mask = _mask(view)

    def prepare(self, canvases: Sequence[npt.NDArray[np.uint8]]) -> None:
        """Fill canvases with the padding, which `paint` leaves alone."""
        for canvas in canvases:
            canvas.fill(self._view.pad)

    def paint(self, frame: VideoFrame, canvas: npt.NDArray[np.uint8]) -> None:
        """Put the frame onto the content rectangle of a prepared canvas, uint8 of `view.shape`."""
        view = self._view
        x, y, width, height = view.content
        picture = self._turned(self._scaler.picture(frame))
        if self._straighten is not None:
            picture = self._straighten(np.ascontiguousarray(picture))
        if self._filters:
            picture = np.ascontiguousarray(picture)
            for step in self._filters:
                picture = step(picture)
        if self._is_converted and not self._is_gray:
            picture = to_format(picture, view.format)
        if view.plane is not None:
            picture = picture[:, :, view.plane]
        content = canvas[y : y + height, x : x + width]
        for place in np.moveaxis(content, -1, 0) if content.ndim > picture.ndim else (content,):
            if self._mask is None:
                place[:] = picture
            elif place.ndim == 2:
                np.copyto(place, picture, where=self._mask)
            else:
                paste(picture, self._mask, place)

    def _turned(self, picture: Image) -> Image:
        """A coded picture as it is displayed."""
        if self._turns:
            picture = np.rot90(picture, -self._turns)
        return picture[:, ::-1] if self._mirrored else picture

    def _make_scaler(self, region: Rectangle, size: tuple[int, int]) -> Scaler:
        """What makes pictures of `size` from a part of the displayed frame, before they are turned."""
        width, height = self._view.source
        is_turned = self._turns % 2 == 1
        packed: Packed = "gray" if self._is_gray else "rgb24"
        if not self._is_gray and (self._is_converted or self._view.format == "bgr24"):
            packed = "bgr24"
        return Scaler(
            _coded(region, (width, height), self._turns, mirrored=self._mirrored),
            (height, width) if is_turned else (width, height),
            *(size[::-1] if is_turned else size),
            packed,
        )

    def _prepare_lens(self, view: View) -> None:
        """Paint what the lens recorded of the view's region, as large as it will be, and straighten that."""
        assert view.lens is not None
        x, y, width, height = view.region
        grid = np.stack(np.meshgrid(np.linspace(x, x + width, 65), np.linspace(y, y + height, 65)), axis=-1)
        recorded = view.lens.distort(grid).reshape(-1, 2)
        low = np.clip(np.floor(recorded.min(axis=0)) - _LENS_MARGIN, 0, np.array(view.source) - 1)
        high = np.clip(np.ceil(recorded.max(axis=0)) + _LENS_MARGIN, low + 1, view.source)
        left, top, right, bottom = (int(value) for value in (*low, *high))
        part_w, part_h = right - left, bottom - top
        size = view.content[2:]
        # At most as large as it was recorded: the straightening can enlarge it.
        inner = (_inner(part_w, size[0] / width), _inner(part_h, size[1] / height))
        self._scaler = self._make_scaler((left, top, part_w, part_h), inner)
        self._straighten = Straightener(
            view.lens,
            shown=view.region,
            size=size,
            recorded=(left, top, part_w, part_h),
            recorded_size=inner,
            pad=view.pad,
        )


def _inner(length: int, scale: float) -> int:
    """How long a picture to be straightened is, for a scale of the straightened one."""
    # swscale takes three times as long for widths that are no multiple of what it does at once.
    return length if scale >= 1 else min(length, math.ceil(length * scale / _STEP) * _STEP)


def _coded(region: Rectangle, size: tuple[int, int], turns: int, *, mirrored: bool) -> Rectangle:
    """Where a part of a displayed frame of `size` lies in the coded picture, which is turned, then mirrored."""
    x, y, width, height = region
    if mirrored:
        x = size[0] - x - width
    if turns == 1:
        return y, size[0] - x - width, height, width
    if turns == 2:
        return size[0] - x - width, size[1] - y - height, width, height
    if turns == 3:
        return size[1] - y - height, x, height, width
    return x, y, width, height


def _mask(view: View) -> npt.NDArray[np.bool_] | None:
    """Which pixels of the view's content lie in its polygons: (height, width) bool; None where it has none."""
    if not view.polygons:
        return None
    x, y, width, height = view.region
    shown_w, shown_h = view.content[2:]
    placed = []
    for polygon in view.polygons:
        corners = np.array(polygon, np.float64)
        if view.lens is not None:
            corners = view.lens.straighten(_followed(corners))
        placed.append((corners - (x, y)) * (shown_w / width, shown_h / height))
    return fill(placed, shown_w, shown_h)


def _followed(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The corners of a polygon with points between them: its edges are straight in the recorded picture only."""
    points = []
    for first, last in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        steps = max(1, int(np.ceil(np.hypot(*(last - first)) / _STRIDE)))
        points.append(first + (last - first) * (np.arange(steps)[:, None] / steps))
    return np.concatenate(points)


def orientation(frame: VideoFrame) -> tuple[int, bool]:
    """How a decoded picture is to be shown: degrees clockwise to turn it (0 to 270), then whether to mirror it."""
    matrix = cast("Any", frame.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return 0, False
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    # A point x, y of the coded picture is shown at a x + c y, b x + d y (FFmpeg's libavutil/display.h).
    if abs(a) + abs(d) >= abs(b) + abs(c):
        rotation = 180 if d < 0 else 0
        return rotation, (a < 0) != (d < 0)
    rotation = 270 if b < 0 else 90
    return rotation, (b < 0) == (c < 0)
