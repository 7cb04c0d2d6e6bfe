"""Exactly the frames wanted, decoded from as near as that is possible. Runs in decoder processes only.

A frame is what its pts says it is: seeks land where they like, so what comes out is checked against the index. And what
it looks like must not depend on where decoding began, so that chunks equal a sequential reading bit for bit:

- A picture decoded without complaint depends only on what the codec says it depends on, so a decoder may run on
  across keyframes, and may begin at any keyframe that proves to be one: its own picture comes first and is whole.
- Where there is damage, FFmpeg paints over it what it finds in older pictures, which it may have or not have. So from
  the first complaint on, a picture is what a new decoder, begun at the last keyframe before that picture, makes of it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import av.error

from cvpipe.video.decode import decode, packets
from cvpipe.video.limits import Limits
from cvpipe.video.source import open_source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SKIP_FRAMES = 32
"""Where so many frames lie between one wanted and the keyframe of the next, seeking is faster than decoding them."""
_KEYFRAMES_BACK = (0, 1, 3, 8)
"""How many keyframes before the right one to aim at, should a seek land behind it (MPEG-TS)."""
_START = -1
"""The place of the start of the file in the list of keyframes."""

Wanted = tuple[int, "VideoFrame | None", str | None]
"""Position in the request; the frame, or None and why there is none."""


class ExactFrames:
    """The frames wanted of a video, in order.

    numbers: frame numbers, ascending. pts: their pts. key_numbers, key_pts: of all keyframes of the video, ascending.
    counted: the frames have no usable times: count them from the first.
    """

    def __init__(
        self,
        fd: int,
        limits: Limits,
        *,
        stream: int,
        numbers: Sequence[int],
        pts: Sequence[int],
        key_numbers: Sequence[int],
        key_pts: Sequence[int],
        counted: bool,
        alive: Callable[[], None],
    ) -> None:
        self._fd, self._limits, self._stream, self._alive = fd, limits, stream, alive
        self._numbers = numbers
        self._clock = numbers if counted else pts
        self._counted = counted
        keys = [] if counted else [(n, t) for n, t in zip(key_numbers, key_pts, strict=True) if n > 0]
        self._key_numbers, self._key_pts = [n for n, _ in keys], [t for _, t in keys]
        self._false_keys: set[int] = set()
        self._source = open_source(fd, limits, stream=stream)
        self._is_new = True  # the source: nothing has been read or decoded

    def __iter__(self) -> Iterator[Wanted]:
        at = 0
        jumps = self._find_jumps()
        while at < len(self._numbers):
            at = yield from self._run(at, jumps[bisect_right(jumps, at)])

    def _find_jumps(self) -> list[int]:
        """The positions for which it is better to seek than to decode up to them, and the end."""
        jumps = []
        for at, (before, number) in enumerate(pairwise(self._numbers), 1):
            if number - before > _SKIP_FRAMES:
                key = self._key_before(at)
                if key != _START and self._key_numbers[key] - before > _SKIP_FRAMES:
                    jumps.append(at)
        return [*jumps, len(self._numbers)]

    def _key_before(self, at: int) -> int:
        """Where a decoder that makes the frame at a position has to begin: place of a keyframe, or _START."""
        key = bisect_right(self._key_numbers, self._numbers[at]) - 1
        while key in self._false_keys:
            key -= 1
        return key

    def _end_of_key(self, key: int) -> float:
        """The pts of the next keyframe: up to there, a decoder begun at this one makes the pictures."""
        later = (self._key_pts[k] for k in range(key + 1, len(self._key_pts)) if k not in self._false_keys)
        return next(later, math.inf)

    def _renew(self) -> None:
        """A decoder that remembers nothing. Flushing it is not enough: it keeps its old pictures' memory."""
        self._source.close()
        self._source = open_source(self._fd, self._limits, stream=self._stream)
        self._is_new = True

    def _run(self, at: int, stop: int) -> Generator[Wanted, None, int]:  # noqa: C901 - one decoder's life, in order
        """Decode for the positions from `at` to `stop` with one decoder. Returns where the next one has to go on."""
        key = self._key_before(at)
        if key == _START and not self._is_new:
            self._renew()
        is_new, self._is_new = self._is_new, False
        is_proven = key == _START
        end: float | None = None  # once there was damage: this decoder's pictures count up to here
        reason: str | None = None
        for clock, frame, trouble in self._decode_from(key):
            reason = trouble or reason
            is_whole = frame is not None and not frame.is_corrupt
            if frame is not None and not is_proven:
                if clock != self._key_pts[key] or not is_whole:
                    break
                is_proven = True
            if end is None and (not is_whole or clock > self._clock[at]):
                if not is_new or key != self._key_before(at):
                    self._renew()
                    return at
                end = self._end_of_key(key)
            if frame is None:
                continue
            before = at
            at = yield from self._give_up(at, stop, clock if end is None else min(clock, end), reason)
            if at < stop and clock == self._clock[at] and (end is None or clock < end):
                yield (at, frame, None) if is_whole else (at, None, reason or "the decoder calls the picture corrupt")
                at += 1
            if at == stop:
                return at
            if end is not None and clock >= end:
                break
            reason = reason if at == before else None
        else:
            # The file has ended, and nothing says that an older decoder would not have seen more.
            if is_proven and is_new and key == self._key_before(at):
                at = yield from self._give_up(at, stop, self._end_of_key(key), reason)
        if not is_proven and is_new:
            self._false_keys.add(key)
        self._renew()
        return at

    def _give_up(self, at: int, stop: int, limit: float, reason: str | None) -> Generator[Wanted, None, int]:
        """Report the frames wanted before `limit` as damaged. Returns the position after them."""
        while at < stop and self._clock[at] < limit:
            yield at, None, reason or "the decoder gave no picture"
            at += 1
        return at

    def _decode_from(self, key: int) -> Iterator[tuple[int, VideoFrame | None, str | None]]:
        """Decode from a keyframe: (pts or count, frame, None), or (0, None, complaint)."""
        beginning = None if key == _START else self._key_pts[key]
        count = 0
        for packet in packets(self._source) if beginning is None else self._packets_from(key):
            self._alive()
            frames, trouble = decode(self._source, packet)
            # What is shown before the keyframe may be predicted from what we have not seen.
            is_early = (
                beginning is not None and packet is not None and packet.pts is not None and packet.pts < beginning
            )
            if trouble is not None and not is_early:
                yield 0, None, trouble
            for frame in frames:
                clock = count if self._counted else frame.pts
                count += 1
                if clock is not None and (beginning is None or clock >= beginning):
                    yield clock, frame, None

    def _packets_from(self, key: int) -> Iterator[Packet[VideoStream] | None]:
        """The packets from a keyframe's own; none where it can't be found."""
        wanted = self._key_pts[key]
        for back in _KEYFRAMES_BACK:
            if key - back < 0 or not self._seek(self._key_pts[key - back]):
                continue
            if (found := self._skip_to(wanted)) is not None:
                yield from found
                return
        self._renew()
        self._is_new = False
        yield from self._skip_to(wanted) or ()

    def _seek(self, pts: int) -> bool:
        try:
            self._source.container.seek(pts, stream=self._source.stream)
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def _skip_to(self, pts: int) -> Iterator[Packet[VideoStream] | None] | None:
        """The packets from the keyframe with this pts, None where reading has begun behind it."""
        following = packets(self._source)
        for packet in following:
            self._alive()
            if packet is None:
                return None
            if packet.is_keyframe and packet.pts is not None and packet.pts >= pts:
                return chain((packet,), following) if packet.pts == pts else None
        return None
