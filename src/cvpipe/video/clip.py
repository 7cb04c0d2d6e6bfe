"""A part of a video as a file of its own: its packets as they are where that is exact, else encoded anew."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cvpipe.errors import InvalidRequest, VideoError
from cvpipe.frames import Image
from cvpipe.video.decoders import Decoders
from cvpipe.video.index import VideoIndex
from cvpipe.video.video import Video
from cvpipe.video.write import Writer

OnProgress = Callable[[int, int], None]

COPYABLE: Final = frozenset("h264 hevc av1 vp9 mpeg4 mpeg2video mpeg1video mjpeg".split())
"""Codecs whose packets an MP4 file can hold."""

_QUALITY: Final = 16
_TABLE_BYTES: Final = 2**16
_TABLE_BYTES_A_FRAME: Final = 48
_SPARE_BYTES: Final = 2**20
_TINY: Final = 32


def make_clip(  # noqa: PLR0917 - in the order in which one thinks of them; all but the times differ in type
    decoders: Decoders,
    path: Path,
    index: VideoIndex,
    start: float,
    stop: float | None,
    out: Path,
    *,
    on_progress: OnProgress = lambda _done, _total: None,
    on_damaged: Callable[[int], None] = lambda _number: None,
) -> Literal["copied", "encoded"]:
    """The frames with start <= time < stop, each shown as long as in the source, as an MP4 file without audio.

    start, stop: seconds since the first frame; None: to the end. Packets are copied where the clip begins at a keyframe
    and the packets of its frames follow each other in the file; the result is then looked at, and encoded anew unless
    it has just these frames, the first of them whole. What is encoded has the displayed orientation, and an odd size
    one pixel more; a damaged frame shows the one before it, and what lies before the first whole one shows that one.
    out: appears when it is whole. on_progress: called with the frames looked at and their total; may raise to stop.
    on_damaged: called with the number of each damaged frame of the clip, in order, once it is there.
    Raises: InvalidRequest where there is no such frame; VideoError.
    """
    first, end = clip_range(index, start, stop)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        video = Video(path, decoders=decoders, index=index)
        damaged = _copy(video, decoders, (first, end), part, on_progress)
        if damaged is not None:
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    is_copied = damaged is not None
    for number in _encode(video, (first, end), out, on_progress) if damaged is None else damaged:
        on_damaged(number)
    return "copied" if is_copied else "encoded"


def clip_range(index: VideoIndex, start: float, stop: float | None) -> tuple[int, int]:
    """Numbers of the frames with start <= time < stop: (first, end), first < end. Raises: InvalidRequest."""
    times, lasts = index.times, index.facts.duration_seconds
    until = lasts + 1 if stop is None else round(stop, 6)
    first, end = (int(n) for n in np.searchsorted(times, (round(start, 6), until)))
    if first >= end:
        what = f"from {start:g} s on" if stop is None else f"from {start:g} to {stop:g} s"
        raise InvalidRequest(f"no frame begins {what}; the video lasts {lasts:g} s", field="from")
    return first, end


def _copy(
    video: Video, decoders: Decoders, span: tuple[int, int], part: Path, on_progress: OnProgress
) -> list[int] | None:
    """Copy packets to `part`. Returns which frames are damaged; None where these are not exactly the frames wanted."""
    (first, end), index = span, video.index
    if not index.keyframe[first] or index.facts.timing != "file" or index.facts.codec not in COPYABLE:
        return None
    tables = _TABLE_BYTES + _TABLE_BYTES_A_FRAME * (end - first)
    # Where start codes become lengths, each unit may grow by a byte.
    most = video.path.stat().st_size * 5 // 4 + tables + _SPARE_BYTES
    try:
        with part.open("wb") as file:
            decoders.copy(video.path, index, first, end, file.fileno(), table_bytes=tables, max_bytes=most)
            os.fsync(file.fileno())
        copied = Video(part, decoders=decoders)
        if not _has_frames(copied, video, span):
            return None
        damaged = _damaged(video, span, on_progress)
        return damaged if _looks_the_same(copied, video, span, damaged) else None
    except VideoError:
        return None


def _has_frames(copied: Video, video: Video, span: tuple[int, int]) -> bool:
    """Has the copy just the frames of the span, at their times?"""
    (first, end), made, index = span, copied.index, video.index
    if len(made) != end - first or copied.view != video.view:
        return False
    ours, theirs = Fraction(made.facts.time_base), Fraction(index.facts.time_base)
    ours_pts, theirs_pts = (made.pts - made.pts[0]).tolist(), (index.pts[first:end] - index.pts[first]).tolist()
    return all(a * ours == b * theirs for a, b in zip(ours_pts, theirs_pts, strict=True))


def _damaged(video: Video, span: tuple[int, int], on_progress: OnProgress) -> list[int]:
    """Numbers of the damaged frames of the span: only decoding tells."""
    first, end = span
    found = []
    for done, frame in enumerate(video.frames(first, end, view=video.view.resized(_TINY, _TINY)), 1):
        if frame.error is not None:
            found.append(frame.number)
        on_progress(done, end - first)
    return found


def _looks_the_same(copied: Video, video: Video, span: tuple[int, int], damaged: list[int]) -> bool:
    """Does the copy begin with a whole picture, and are some of its pictures, bit for bit, those of the source?"""
    first, end = span
    if first in damaged:
        return False
    probes = sorted({first, (first + end) // 2, end - 1} - set(damaged))
    copies, sources = copied.get_frames_at([n - first for n in probes]), video.get_frames_at(probes)
    return all(
        a.error is None and b.error is None and np.array_equal(a.image, b.image)
        for a, b in zip(copies, sources, strict=True)
    )


def _encode(video: Video, span: tuple[int, int], out: Path, on_progress: OnProgress) -> list[int]:
    """Encode the frames; returns which are damaged. Where all are, it is black."""
    (first, end), index = span, video.index
    picture: Image | None = None
    waiting: list[float] = []  # times before the first whole picture
    damaged: list[int] = []
    with Writer(
        out,
        width=video.view.width,
        height=video.view.height,
        fps=index.facts.fps,
        format="rgb24",
        quality=_QUALITY,
        pixel_aspect=shown_pixel_aspect(index),
    ) as writer:
        for done, frame in enumerate(video.frames(first, end), 1):
            if frame.error is None:
                picture = frame.image
            else:
                damaged.append(frame.number)
            waiting.append(frame.time - float(index.times[first]))
            if picture is not None or done == end - first:
                for time in waiting:
                    writer.write(np.zeros(video.view.shape, np.uint8) if picture is None else picture, time)
                waiting.clear()
            on_progress(done, end - first)
    return damaged


def shown_pixel_aspect(index: VideoIndex) -> Fraction:
    """Width over height of one pixel of a displayed frame."""
    aspect = Fraction(index.facts.sample_aspect_ratio)
    return 1 / aspect if index.facts.rotation % 180 else aspect
