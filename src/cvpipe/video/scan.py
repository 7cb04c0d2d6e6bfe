"""Make the index of a video: read its packets, decode one frame. Runs in decoder processes only."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cvpipe.errors import MediaUnreadable, TooManyFrames, TooManyPixels, TooMuchMemory, VideoError
from cvpipe.video.decode import decode, last_words, packets, too_large
from cvpipe.video.index import VideoFacts, VideoIndex
from cvpipe.video.limits import Limits
from cvpipe.video.paint import orientation
from cvpipe.video.random_access import is_clean_start, nal_length_size
from cvpipe.video.source import Source, is_shown, open_source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


_SPARE_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _Times:
    """pts: ascending, unique. key: can decoding begin at each. only: duration of the only frame, 0 if not known."""

    pts: list[int]
    key: list[bool]
    only: int
    first_frame: VideoFrame
    timing: Literal["file", "counted"] = "file"


def scan(fd: int, limits: Limits, alive: Callable[[], None], *, stream: int | None = None) -> VideoIndex:
    """The index of the video at the descriptor `fd`. Calls `alive` after each packet.

    Raises: VideoError.
    """
    source = open_source(fd, limits, stream=stream)
    times = _from_packets(source, limits, alive)
    if times is None:
        # The packets don't say when the frames are shown (fields of interlaced h264 each on their own, AVI with
        # B-frames, recordings whose clock jumps back). Decoding all of it does.
        source.close()
        source = open_source(fd, limits, stream=stream)
        times = _from_frames(source, limits, alive)
    facts = _facts(source, times)
    source.close()
    return VideoIndex(
        facts=facts,
        pts=np.array(times.pts, np.int64),
        keyframe=np.array(times.key, np.bool_),
        reference=np.ones(len(times.pts), np.bool_),
        size=np.zeros(len(times.pts), np.int64),
    )


class _PacketTimes:
    """The times of the frames as their packets tell them.

    shown: by pts, can decoding begin at the frame, and its duration. first_key: pts of the first keyframe packet.
    """

    def __init__(self, source: Source) -> None:
        self.shown: dict[int, tuple[bool, int]] = {}
        self.first_key: int | None = None
        self._codec = source.codec
        self._last_dts: int | None = None
        self._begins = _beginnings(source)

    def add(self, packet: Packet[VideoStream]) -> bool:
        """Take a packet. False where its time can't be that of a frame."""
        if packet.dts is not None:
            if self._last_dts is not None and packet.dts < self._last_dts:
                return False
            self._last_dts = packet.dts
        if is_shown(packet, self._codec):
            if packet.pts is None or packet.pts in self.shown:
                return False
            if packet.is_keyframe and self.first_key is None:
                self.first_key = packet.pts
            self.shown[packet.pts] = (packet.is_keyframe and self._begins(packet), packet.duration or 0)
        return True


def _from_packets(source: Source, limits: Limits, alive: Callable[[], None]) -> _Times | None:
    """None where the packets' times can't be those of the frames."""
    times = _PacketTimes(source)
    first: VideoFrame | None = None
    for packet in packets(source):
        alive()
        if first is None:
            frames, _ = decode(source, packet)
            first = frames[0] if frames else None
            if first is not None and source.container_name == "avi" and source.stream.codec_context.has_b_frames:
                return None  # AVI has one time a packet, and it is not when the frame is shown
        if packet is not None and not times.add(packet):
            return None
        if len(times.shown) > limits.max_frames:
            raise TooManyFrames(f"the video has more than {limits.max_frames} frames")
    if first is None:
        raise _no_frame()
    if first.pts not in times.shown:
        return None
    # A recording that begins in the middle: what comes before its first keyframe can't be seen, by anyone.
    begin = first.pts if times.first_key is None else min(first.pts, times.first_key)
    pts = sorted(t for t in times.shown if t >= begin)
    return _Times(pts, [times.shown[t][0] for t in pts], times.shown[pts[-1]][1], first)


def _no_frame() -> VideoError:
    if (refusal := too_large()) is not None:
        return TooManyPixels(refusal)
    try:
        mmap.mmap(-1, _SPARE_BYTES).close()
    except OSError:  # FFmpeg calls a failed allocation what it likes
        return TooMuchMemory("decoding it takes more memory than allowed")
    return MediaUnreadable(f"no frame of it can be decoded: {last_words() or 'there is none'}")


def _beginnings(source: Source) -> Callable[[Packet[VideoStream]], bool]:
    """A test for keyframes that their container's word is not enough for."""
    if source.codec != "h264":
        return lambda _: True
    length_size = nal_length_size(source.stream.codec_context.extradata)
    return lambda packet: is_clean_start(bytes(packet), length_size)


def _from_frames(source: Source, limits: Limits, alive: Callable[[], None]) -> _Times:
    pts: list[int | None] = []
    key: list[bool] = []
    first: VideoFrame | None = None
    last = 0
    for packet in packets(source):
        alive()
        frames, _ = decode(source, packet)
        for frame in frames:
            first = first or frame
            pts.append(frame.pts)
            key.append(frame.key_frame)
            last = frame.duration
        if len(pts) > limits.max_frames:
            raise TooManyFrames(f"the video has more than {limits.max_frames} frames")
    if first is None:
        raise _no_frame()
    known = [t for t in pts if t is not None]
    if len(known) == len(pts) and all(a < b for a, b in pairwise(known)):
        return _Times(known, key, last, first)
    only_first = [n == 0 for n in range(len(pts))]
    if len(known) < len(pts) or source.container_name == "avi":  # its frames are evenly spaced
        step = _header_step(source)
        return _Times([n * step for n in range(len(pts))], only_first, step, first, "counted")
    step = _usual_step(known) or _header_step(source)
    return _Times(_made_up(known, step), only_first, step, first, "counted")


def _made_up(pts: list[int], step: int) -> list[int]:
    """Times that ascend, from times that don't: steps that make no sense become the usual one."""
    out = [pts[0]]
    for before, after in pairwise(pts):
        out.append(out[-1] + (after - before if 0 < after - before <= 100 * step else step))
    return out


def _usual_step(pts: list[int]) -> int:
    deltas = np.diff(np.array(pts, np.int64))
    deltas = deltas[deltas > 0]
    return int(np.median(deltas)) if len(deltas) else 0


def _header_step(source: Source) -> int:
    rate = source.stream.average_rate or source.stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * (source.stream.time_base or Fraction(1, 1000)))))


def _facts(source: Source, times: _Times) -> VideoFacts:
    stream, frame = source.stream, times.first_frame
    base = stream.time_base or Fraction(1, 1000)
    rotation, mirrored = orientation(frame)
    turned = rotation % 180 != 0
    # How long a packet lasts is said in order of decoding: of the last one shown it means nothing.
    last = _usual_step(times.pts) or times.only or _header_step(source)
    duration = float((times.pts[-1] - times.pts[0] + last) * base)
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
        frames=len(times.pts),
        duration_seconds=round(duration, 6),
        fps=round(len(times.pts) / duration, 6),
        time_base=f"{base.numerator}/{base.denominator}",
        stream=stream.index,
        timing=times.timing,
        header=_claims(source, base),
    )


def _claims(source: Source, base: Fraction) -> dict[str, Any]:
    stream, container = source.stream, source.container
    seconds: float | None = None
    if stream.duration is not None:
        seconds = float(stream.duration * base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    return {
        "frames": stream.frames or None,
        "duration_seconds": seconds,
        "fps": float(stream.average_rate) if stream.average_rate else None,
        "bit_rate": container.bit_rate or None,
    }
