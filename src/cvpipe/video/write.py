"""Write videos: H.264 in MP4, which every browser plays."""

from __future__ import annotations

import os
import secrets
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from cvpipe.errors import ExtraMissing
from cvpipe.frames import PixelFormat

TIME_BASE: Final = Fraction(1, 90_000)
"""Of the files written, in seconds."""
_BT709: Final = 1
_LIMITED: Final = 1
_THREADS: Final = 4
"""Of the encoder: its pictures depend on their number."""
_EXACT: Final = "cpu-independent=1"
"""x264's fastest code for AVX-512 makes of the same pictures now this file, now that one (its macroblock tree)."""
_SLOWEST: Final = Fraction(1, 1001)
"""The least rate that the encoder is told; times may lie farther apart: some cameras take a picture an hour."""


class Writer:
    """Writes pictures, each with its time, to an MP4 file; times need not be evenly spaced.

    A context manager. The file appears when the context ends well, whole and ready to be streamed; until then, and
    where it ends with an error, nothing is at `path` that was not there before. `frames` counts what was written.

        with Writer(path, width=1280, height=720, fps=25) as writer:
            for number, image in enumerate(images):
                writer.write(image, number / 25)
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        fps: float | Fraction = 25,
        format: PixelFormat = "bgr24",
        quality: int = 21,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        """Open a file beside `path`.

        width, height: of the pictures, in pixels; H.264 needs even sizes, so an odd one is one pixel larger there.
        fps: about; how long the last picture is shown, and what the encoder expects. format: of the pictures.
        quality: x264's crf, less is better, 18 to 28 is usual.
        pixel_aspect: width over height of one pixel.
        Raises: ExtraMissing where PyAV is not installed.
        """
        try:
            import av
        except ImportError as error:
            raise ExtraMissing("writing videos needs PyAV: install cvpipe[cpu] or cvpipe[gpu]") from error
        from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

        self._path = path
        self._shape = (height, width) if format == "gray" else (height, width, 3)
        self._format = format
        self._make = av.VideoFrame.from_ndarray
        self._to_video = partial(
            VideoReformatter().reformat,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR,
            threads=1,
        )
        self.frames = 0
        self._last_ticks = -1
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        try:
            rate = max(Fraction(fps).limit_denominator(1001), _SLOWEST)
            self._duration = max(1, round(1 / (rate * TIME_BASE)))
            stream = self._container.add_stream(
                "libx264",
                rate=rate,
                options={"preset": "veryfast", "crf": str(quality), "x264-params": _EXACT},
            )
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            context.time_base = stream.time_base = TIME_BASE
            context.gop_size = max(1, round(2 * rate))
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = _LIMITED
            context.thread_count = _THREADS
            context.sample_aspect_ratio = pixel_aspect
            self._stream = stream
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, image: npt.NDArray[np.uint8], time_seconds: float) -> None:
        """Append a picture, to be shown from `time_seconds` on until the next.

        image: uint8, (height, width, 3), or (height, width) for gray. A time that is not after the last one becomes so.
        """
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"wanted uint8 {self._shape}, got {image.dtype} {image.shape}")
        if image.shape[0] % 2 or image.shape[1] % 2:
            around = ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0))
            image = np.pad(image, around[: image.ndim], mode="edge")
        ticks = max(round(time_seconds / TIME_BASE), self._last_ticks + 1)
        self._last_ticks = ticks
        frame = self._to_video(self._make(image, format=self._format))
        frame.pts, frame.time_base, frame.duration = ticks, TIME_BASE, self._duration
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file and put it at its path. Called at the end of the context."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self._path)
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        self._container.close()
        self._part.unlink(missing_ok=True)
