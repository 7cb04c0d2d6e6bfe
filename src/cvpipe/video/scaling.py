"""From a part of the decoder's picture to packed pixels, by FFmpeg's own filters. Runs in decoder processes only.

The pixels are those of the `ffmpeg` program: at the picture's own size of `ffmpeg -i FILE -pix_fmt rgb24`, at another
size of `-vf scale=W:H:flags=area` (`bilinear` where it is larger). PyAV's reformatter is not used because it puts the
colours of H.264 and HEVC elsewhere than FFmpeg's `scale` does (it sites them as the file says), which changes edges by
up to 80 grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np
import numpy.typing as npt
from av.filter import Graph

if TYPE_CHECKING:
    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

SHRINKING: Final = "area"
ENLARGING: Final = "bilinear"
"""How pictures are resized: `flags` of FFmpeg's `scale`. Averaging areas costs a third less than bilinear and changes
what a network finds the least (docs/benchmarks.md); enlarged, it would make blocks."""
_CONVERSION: Final = "bicubic"
"""How colours are spread over pixels where nothing is resized: what the `ffmpeg` program does unless told otherwise."""

_CONVERTIBLE: Final = frozenset((0, 1, 2, 4, 5, 6, 7, 9))
"""AVColorSpace values that swscale can convert from; the others make it fail."""
_UNSPECIFIED: Final = 2
_BT2020: Final = 9
_BT2020_CONSTANT: Final = 10
"""Converted with the matrix of `_BT2020`, as older versions of FFmpeg do; newer ones refuse it."""
_LUMA: Final = ":in_color_matrix=bt601:out_color_matrix=bt601"
"""Grey is the luma as recorded: with two equal matrices, it is not converted from one kind of luma to another."""
_MARGIN: Final = 16
"""Pixels around a cut-out, more than any filter reaches, and cut at multiples of it: SIMD works on so many at once."""

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in pixels."""
Packed = Literal["rgb24", "bgr24", "gray"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a filter graph is made for: it can't be told of a change."""

    width: int
    height: int
    format: str
    colour: int
    range: int

    @classmethod
    def of(cls, frame: VideoFrame) -> _Kind:
        return cls(frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))


class Scaler:
    """Makes pictures of one size from one part of frames.

    region: (x, y, width, height) of the part, in pixels of a frame of `size`; for frames of another size, the part in
    proportion. width, height: of the pictures.
    """

    def __init__(self, region: Rectangle, size: tuple[int, int], width: int, height: int, format: Packed) -> None:
        self._region, self._size = region, size
        self._width, self._height, self._format = width, height, format
        self._kind: _Kind | None = None

    def picture(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """The pixels, (height, width, 3) or (height, width) for gray; rows may lie apart in memory.

        May write to `frame.colorspace`: what can't be converted from counts as unspecified.
        """
        if frame.colorspace not in _CONVERTIBLE:
            frame.colorspace = _BT2020 if frame.colorspace == _BT2020_CONSTANT else _UNSPECIFIED
        if (kind := _Kind.of(frame)) != self._kind:
            self._kind = kind
            self._graph, self._source, self._sink, self._cut = self._make(frame)
        self._source.push(frame)
        scaled = cast("VideoFrame", self._sink.pull())
        plane = scaled.planes[0]
        rows: npt.NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(scaled.height, plane.line_size)
        if self._format != "gray":
            rows = rows[:, : scaled.width * 3].reshape(scaled.height, scaled.width, 3)
        left, top = self._cut
        return rows[top : top + self._height, left : left + self._width]

    def _make(self, frame: VideoFrame) -> tuple[Graph, FilterContext, FilterContext, tuple[int, int]]:
        """A filter graph for frames like this one, and where in its pictures the wanted one begins."""
        region = _in_proportion(self._region, self._size, (frame.width, frame.height))
        steps, cut = self._steps(region, frame)
        graph = Graph()
        graph.threads = 1  # many chunks are worked on at once: that is where the cores go
        source = last = graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:"
            f"colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
        for name, options in [*steps, ("format", f"pix_fmts={self._format}"), ("buffersink", None)]:
            step = graph.add(name, options)
            last.link_to(step)
            last = step
        graph.configure()
        return graph, source, last, cut

    def _steps(self, region: Rectangle, frame: VideoFrame) -> tuple[list[tuple[str, str]], tuple[int, int]]:
        x, y, width, height = region
        size = (frame.width, frame.height)
        sub_x, sub_y = _subsampling(frame)
        # Where a picture ends in half a pixel of colour, swscale stretches the colours over all of it: nothing is cut.
        is_whole = region == (0, 0, *size) or bool(size[0] % sub_x or size[1] % sub_y)
        if (width, height) == (self._width, self._height):
            left, top, right, bottom = (0, 0, *size) if is_whole else _around(region, size)
            crop = (left, top, right - left, bottom - top)
            scale, cut = f"flags={_CONVERSION}", (x - left, y - top)
        else:
            crop = region
            # Where the cut goes through a pixel of colour, that pixel's middle lies so far to the left of the rest.
            moved = _siting(x % sub_x, sub_x, "h") + _siting(y % sub_y, sub_y, "v")
            scale, cut = f"{self._width}:{self._height}:flags={self._interpolation(width, height)}{moved}", (0, 0)
        if self._format == "gray":
            scale += _LUMA
        left, top, width, height = crop
        cropping = [] if crop == (0, 0, *size) else [("crop", f"{width}:{height}:{left}:{top}:exact=1")]
        return [*cropping, ("scale", scale)], cut

    def _interpolation(self, width: int, height: int) -> str:
        return SHRINKING if self._width <= width and self._height <= height else ENLARGING


def _in_proportion(region: Rectangle, size: tuple[int, int], actual: tuple[int, int]) -> Rectangle:
    """A rectangle of a picture of `size`, in one of the size `actual`."""
    if size == actual:
        return region
    x, y, width, height = region
    x1, x2 = round(x * actual[0] / size[0]), round((x + width) * actual[0] / size[0])
    y1, y2 = round(y * actual[1] / size[1]), round((y + height) * actual[1] / size[1])
    x1, y1 = min(x1, actual[0] - 1), min(y1, actual[1] - 1)
    return x1, y1, max(1, x2 - x1), max(1, y2 - y1)


def _around(region: Rectangle, size: tuple[int, int]) -> Rectangle:
    """Left, top, right, bottom of a cut-out whose inside is converted as it is when the whole picture is.

    Its height is even or odd as that of the picture: swscale has other code for the two.
    """
    x, y, width, height = region
    left, top = (max(0, (at - _MARGIN) // _MARGIN * _MARGIN) for at in (x, y))
    right, bottom = (
        min(end, -(-(at + _MARGIN) // _MARGIN) * _MARGIN) for at, end in zip((x + width, y + height), size, strict=True)
    )
    if (bottom - top) % 2 != size[1] % 2:
        bottom -= 1
    return left, top, right, bottom


def _subsampling(frame: VideoFrame) -> tuple[int, int]:
    """How many pixels share one of colour, across and down."""
    widths = [c.width for c in frame.format.components]
    heights = [c.height for c in frame.format.components]
    return max(1, round(frame.width / min(widths))), max(1, round(frame.height / min(heights)))


def _siting(past: int, step: int, axis: str) -> str:
    """An option for `scale`: where the first pixel of colour lies, of whose `step` pixels a cut has taken `past`."""
    if past == 0:
        return ""
    return f":in_{axis}_chr_pos={max(-512, (step - 1) * 128 - past * 256)}"
