"""From the decoder's picture to a view, in one step of swscale. Runs in decoder processes only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter

from cvpipe.frames import View

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_CONVERTIBLE: Final = frozenset((0, 1, 2, 4, 5, 6, 7, 9))
"""AVColorSpace values that swscale can convert from; the others make it fail."""
_UNSPECIFIED: Final = 2


class Painter:
    """Paints frames onto the canvas of one view."""

    def __init__(self, view: View, *, rotation: int, mirrored: bool) -> None:
        self._view = view
        self._turns = rotation // 90
        self._mirrored = mirrored
        self._gray = view.format == "gray" or view.colourless
        self._scaler = VideoReformatter()

    def prepare(self, canvases: Sequence[npt.NDArray[np.uint8]]) -> None:
        """Fill canvases with the padding, which `paint` leaves alone."""
        for canvas in canvases:
            canvas.fill(self._view.pad)

    def paint(self, frame: VideoFrame, canvas: npt.NDArray[np.uint8]) -> None:
        """Put the whole frame onto the content rectangle of a prepared canvas, uint8 of `view.shape`."""
        x, y, width, height = self._view.content
        coded = (height, width) if self._turns % 2 else (width, height)
        picture = self._scale(frame, *coded)
        if self._turns:
            picture = np.rot90(picture, -self._turns)
        if self._mirrored:
            picture = picture[:, ::-1]
        content = canvas[y : y + height, x : x + width]
        if self._gray and content.ndim == 3:
            for channel in range(3):
                content[:, :, channel] = picture
        else:
            content[:] = picture

    def _scale(self, frame: VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        if frame.colorspace not in _CONVERTIBLE:
            frame.colorspace = _UNSPECIFIED
        scaled = self._scaler.reformat(
            frame,
            width,
            height,
            "gray" if self._gray else self._view.format,
            interpolation=Interpolation.BILINEAR,
            threads=1,
        )
        plane = scaled.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return rows[:, :width] if self._gray else rows[:, : width * 3].reshape(height, width, 3)


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
