"""Small videos made by PyAV, each with a trait that readers stumble over. Every frame differs from every other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FPS = 96, 64, 25


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame of the clips, uint8 (height, width, 3) RGB: a texture that drifts, a square that moves."""
    y, x = np.mgrid[:height, :width]
    red = (x * 3 + number * 5) % 256
    green = (y * 4 + number * 3) % 256
    blue = ((x + y) * 2 + number * 7) % 256
    image = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    left = (number * 3) % (width - 16)
    image[height // 2 - 8 : height // 2 + 8, left : left + 16] = (255, 40, 10)
    image[:6, : 1 + number % width] = 255
    return image


def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    frames: int = 60,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, FPS),
    colour: tuple[int, int] | None = None,
    turned: tuple[int, dict[str, bool]] | None = None,
    draw: Callable[[int, int, int], np.ndarray] = picture,
) -> Path:
    """Encode `frames` pictures. pts: in `time_base`, default 0, 1, 2, ...; colour: AVColorSpace, AVColorRange.

    turned: degrees counterclockwise that a player is told to turn the picture, and `hflip`, `vflip`.
    """
    with av.open(path, "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=FPS, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        if turned:
            stream.set_display_rotation(turned[0], **turned[1])
        if colour:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            space, range_ = colour or (None, None)
            frame = frame.reformat(format=pixel_format, dst_colorspace=space, dst_color_range=range_)
            frame.pts, frame.time_base = (number if pts is None else pts[number]), time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


X264 = {"preset": "veryfast", "bf": "3", "b-adapt": "0", "g": "12", "keyint_min": "12", "sc_threshold": "0"}


def x264(extra: str = "", **options: str) -> dict[str, str]:
    """Options of libx264: a keyframe every 12 frames, three B-frames between others."""
    return {**X264, **options, "x264-params": extra} if extra else {**X264, **options}
