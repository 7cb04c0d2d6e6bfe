"""Make the index of a video: read its packets, decode one frame. Runs in decoder processes only."""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import av.error
import numpy as np
import numpy.typing as npt

from cvpipe.errors import (
    BadDimensions,
    Encrypted,
    InputChanged,
    MediaTruncated,
    MediaUnreadable,
    PixelFormatUnsupported,
    TooManyFrames,
    TooManyPixels,
    TooMuchMemory,
    VideoError,
)
from cvpipe.video import facts as measured
from cvpipe.video.decode import decode, is_half, last_words, packets, told
from cvpipe.video.ending import is_cut_off, truncation
from cvpipe.video.index import VideoFacts, VideoIndex
from cvpipe.video.limits import Limits
from cvpipe.video.paint import orientation
from cvpipe.video.random_access import is_clean_start, nal_length_size
from cvpipe.video.reference import IS_REFERENCE, are_references, ranking
from cvpipe.video.scaling import Scaler
from cvpipe.video.scrambling import is_scrambled
from cvpipe.video.source import Source, check_size, is_shown, open_source
from cvpipe.video.times import complete, usual_step

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


_SPARE_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _Times:
    """What the packets, or the frames, tell of all frames in the order they are shown.

    pts: (n,) int64, ascending, unique. key: (n,) bool, can decoding begin at each. reference, size: see VideoIndex.
    only: duration of the only frame, 0 if not known. read: packets; is_broken: does the file end within the last one.
    """

    pts: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    size: npt.NDArray[np.int64]
    only: int
    first_frame: VideoFrame
    read: int
    is_broken: bool
    timing: Literal["file", "counted"] = "file"


def scan(fd: int, limits: Limits, alive: Callable[[], None], *, stream: int | None = None) -> VideoIndex:
    """The index of the video at the descriptor `fd`. Calls `alive` after each packet.

    stream: index of the video stream in the file; default: see `open_source`.
    Raises: VideoError.
    """
    before = os.fstat(fd)
    source = open_source(fd, limits, stream=stream)
    times = _from_packets(fd, source, limits, alive)
    if times is None:
        # The packets don't say when the frames are shown (fields of interlaced h264 each on their own, AVI with
        # B-frames, recordings whose clock jumps back). Decoding all of it does.
        source.close()
        source = open_source(fd, limits, stream=stream)
        times = _from_frames(fd, source, limits, alive)
    facts = _facts(fd, source, times, before.st_size)
    source.close()
    after = os.fstat(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputChanged("the file changed while it was read; try again when it is complete")
    return VideoIndex(facts=facts, pts=times.pts, keyframe=times.key, reference=times.reference, size=times.size)


class _Packets:
    """The packets of the frames, as they are read: a row each, in columns."""

    def __init__(self, source: Source) -> None:
        self.pts, self.size = array("q"), array("q")
        self.key, self.rank = array("B"), array("B")
        self.duration = 0
        self.read = 0
        self.is_broken = False
        self.first_key: int | None = None
        self._codec = source.codec
        extradata = source.stream.codec_context.extradata
        self._length_size = nal_length_size(extradata)
        self._rank = ranking(source.codec, extradata)
        self._last_dts: int | None = None

    def add(self, packet: Packet[VideoStream]) -> bool:
        """Take a packet. False where its time can't be that of a frame."""
        self.read += 1
        dts = packet.dts
        if dts is not None:
            if self._last_dts is not None and dts < self._last_dts:
                return False
            self._last_dts = dts
        if not is_shown(packet, self._codec):
            return True
        pts = packet.pts
        if pts is None:
            return False
        self.add_row(packet, pts)
        return True

    def add_row(self, packet: Packet[VideoStream], pts: int) -> None:
        """Take a packet whose time is known, or does not matter."""
        data = bytes(packet)
        if packet.is_keyframe:
            _check_encryption(packet)
            if self.first_key is None:
                self.first_key = pts
            # Their container's word is not enough for h264.
            self.key.append(self._codec != "h264" or is_clean_start(data, self._length_size))
        else:
            self.key.append(False)
        if not self.pts:
            self.duration = packet.duration or 0
        self.pts.append(pts)
        self.size.append(len(data))
        if self._rank is not None:
            self.rank.append(self._rank(data))
        else:
            self.rank.append(0 if packet.is_disposable else IS_REFERENCE)

    def references(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, in the order of packets."""
        return are_references(np.frombuffer(self.rank, np.uint8))


def _from_packets(fd: int, source: Source, limits: Limits, alive: Callable[[], None]) -> _Times | None:
    """None where the packets' times can't be those of the frames."""
    rows = _Packets(source)
    first: VideoFrame | None = None
    for packet in packets(source, halves=True):
        alive()
        if packet is not None and is_half(source, packet):
            rows.read, rows.is_broken = rows.read + 1, True
            continue
        if first is None:
            _check_encryption(packet)
            frames, _ = decode(source, packet)
            first = frames[0] if frames else None
            if first is not None and source.container_name == "avi" and source.stream.codec_context.has_b_frames:
                return None  # AVI has one time a packet, and it is not when the frame is shown
        if packet is not None and not rows.add(packet):
            return None
        if len(rows.pts) > limits.max_frames:
            raise _too_many_frames(limits)
    if first is None:
        raise _no_frame(fd, source)
    _check_frame(first, limits)
    pts = np.frombuffer(rows.pts, np.int64)
    order = np.argsort(pts, kind="stable")
    pts = pts[order]
    if not len(pts) or first.pts is None or (np.diff(pts) == 0).any() or first.pts not in pts:
        return None
    # A recording that begins in the middle: what comes before its first keyframe can't be seen, by anyone.
    begin = first.pts if rows.first_key is None else min(first.pts, rows.first_key)
    order = order[np.searchsorted(pts, begin) :]
    return _Times(
        pts=pts[len(pts) - len(order) :].copy(),
        key=np.frombuffer(rows.key, np.uint8)[order].astype(np.bool_),
        reference=rows.references()[order],
        size=np.frombuffer(rows.size, np.int64)[order],
        only=rows.duration,
        first_frame=first,
        read=rows.read,
        is_broken=rows.is_broken,
    )


def _check_encryption(packet: Packet[VideoStream] | None) -> None:
    if packet is not None and packet.has_sidedata("encryption_info"):
        raise _encrypted()


def _encrypted() -> Encrypted:
    return Encrypted("its pictures are encrypted (DRM); decrypt the file before it is sent")


def _too_many_frames(limits: Limits) -> TooManyFrames:
    return TooManyFrames(f"the video has more than {limits.max_frames} frames; send it in parts")


def _check_frame(frame: VideoFrame, limits: Limits) -> None:
    """Raises: VideoError for pictures that can't be worked with."""
    size, colour = (frame.width, frame.height), frame.colorspace
    check_size(*size, limits)
    try:
        Scaler((0, 0, *size), size, 16, 16, "bgr24").picture(frame)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, MemoryError):
            raise
        raise PixelFormatUnsupported(
            f"its pixel format, {frame.format.name}, can't be converted to RGB; encode it anew as yuv420p"
        ) from error
    finally:
        frame.colorspace = colour  # the scaler writes there what it can convert; the facts tell what the file says


def _no_frame(fd: int, source: Source) -> VideoError:
    if (refusal := told("max pixel count")) is not None:
        return TooManyPixels(f"{refusal}; make it smaller")
    if (refusal := told("Picture size")) is not None:
        return BadDimensions(f"{refusal}: no picture can be of this size")
    try:
        mmap.mmap(-1, _SPARE_BYTES).close()
    except OSError:  # FFmpeg calls a failed allocation what it likes
        return TooMuchMemory("decoding it takes more memory than allowed; make its pictures smaller")
    if "enc_key_id" in source.stream.metadata:  # what FFmpeg makes of Matroska's ContentEncryption
        return _encrypted()
    if source.container_name == "mpegts" and is_scrambled(fd, source.stream.id):
        return _encrypted()
    if is_cut_off(fd, source.container_name):
        return MediaTruncated("the file is cut off before its first picture ends; send the whole file")
    context = source.stream.codec_context
    if not (context.width and context.height) and not last_words():
        return BadDimensions("nothing says how large its pictures are, and none can be decoded")
    return MediaUnreadable(f"no frame of it can be decoded ({last_words() or 'it has none'}); check that a player can")


def _from_frames(fd: int, source: Source, limits: Limits, alive: Callable[[], None]) -> _Times:
    rows = _Packets(source)
    source.stream.codec_context.copy_opaque = True  # so that each frame says which packet it came with
    pts: list[int | None] = []
    origin = array("q")
    key = array("B")
    first: VideoFrame | None = None
    last = 0
    for packet in packets(source, halves=True):
        alive()
        if packet is not None and is_half(source, packet):
            rows.read, rows.is_broken = rows.read + 1, True
            continue
        if packet is not None:
            packet.opaque = len(rows.pts)
            rows.read += 1
            rows.add_row(packet, packet.pts or 0)
        frames, _ = decode(source, packet)
        for frame in frames:
            first = first or frame
            pts.append(frame.pts)
            origin.append(frame.opaque if isinstance(frame.opaque, int) else -1)
            key.append(frame.key_frame)
            last = frame.duration
        if len(pts) > limits.max_frames:
            raise _too_many_frames(limits)
    if first is None:
        raise _no_frame(fd, source)
    _check_frame(first, limits)
    reference, size = _of_frames(rows, np.frombuffer(origin, np.int64))
    known = [t for t in pts if t is not None]
    keys = np.frombuffer(key, np.uint8).astype(np.bool_)
    made_up: list[int] | None = None
    step = last
    if len(known) < len(pts) or not all(a < b for a, b in pairwise(known)):
        keys = np.arange(len(pts)) == 0
        step = _header_step(source)
        if not known or source.container_name == "avi":  # its frames are evenly spaced
            made_up = [n * step for n in range(len(pts))]
        else:
            step = usual_step(pts) or step
            made_up = complete(pts, step)
    return _Times(
        pts=np.array(known if made_up is None else made_up, np.int64),
        key=keys,
        reference=reference,
        size=size,
        only=step,
        first_frame=first,
        read=rows.read,
        is_broken=rows.is_broken,
        timing="file" if made_up is None else "counted",
    )


def _of_frames(rows: _Packets, origin: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each frame is a reference, and how many bytes its packets have. origin: its packet's place, -1: unknown.

    A packet without a frame of its own (a second field) belongs to the one before it.
    """
    reference, size = np.ones(len(origin), np.bool_), np.zeros(len(origin), np.int64)
    known = np.flatnonzero(origin >= 0)
    places, at = np.unique(origin[known], return_index=True)
    if len(places):
        owner = known[at]
        bounds = np.append(places, len(rows.size))
        sizes = np.frombuffer(rows.size, np.int64)
        ranks = rows.references()
        size[owner] = np.add.reduceat(sizes[places[0] :], places - places[0])
        for number, (start, stop) in zip(owner, pairwise(bounds.tolist()), strict=True):
            reference[number] = ranks[start:stop].any()
    return reference, size


def _header_step(source: Source) -> int:
    rate = source.stream.average_rate or source.stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * (source.stream.time_base or Fraction(1, 1000)))))


def _facts(fd: int, source: Source, times: _Times, file_bytes: int) -> VideoFacts:
    stream, frame = source.stream, times.first_frame
    base = stream.time_base or Fraction(1, 1000)
    rotation, mirrored = orientation(frame)
    turned = rotation % 180 != 0
    # How long a packet lasts is said in order of decoding: of the last one shown it means nothing.
    last = usual_step(times.pts) or times.only or _header_step(source)
    duration = round(float((int(times.pts[-1]) - int(times.pts[0]) + last) * base), 6)
    header = measured.claims(source)
    warning = truncation(
        fd, source, read=times.read, is_broken=times.is_broken, frames=len(times.pts), seconds=duration, header=header
    )
    return VideoFacts(
        container=source.container_name,
        codec=source.codec,
        pixel_format=frame.format.name,
        width=frame.width,
        height=frame.height,
        display_width=frame.height if turned else frame.width,
        display_height=frame.width if turned else frame.height,
        rotation=rotation,
        mirrored=mirrored,
        sample_aspect_ratio=measured.sample_aspect_ratio(source),
        field_order=measured.field_order(source, frame),
        colour=measured.colour(frame),
        frames=len(times.pts),
        duration_seconds=duration,
        fps=round(len(times.pts) / duration, 6) if duration else 0.0,
        time_base=f"{base.numerator}/{base.denominator}",
        stream=stream.index,
        timing=times.timing,
        bit_rate=round(int(times.size.sum()) * 8 / duration) if duration else 0,
        file_bytes=file_bytes,
        header=header,
        streams=measured.streams(source),
        warnings=() if warning is None else (warning,),
    )
