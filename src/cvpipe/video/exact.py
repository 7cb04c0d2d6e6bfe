"""Exactly the frames wanted, decoded from as near as that is possible. Runs in decoder processes only.

A frame is what its pts says it is: seeks land where they like, so what comes out is checked against the index. And what
it looks like must not depend on where decoding began, so that chunks equal a sequential reading bit for bit:

- A picture decoded without complaint depends only on what the codec says it depends on, so a decoder may run on
  across keyframes, may begin at any keyframe that proves to be one (its own picture comes first and is whole), and may
  leave out what neither is wanted nor needed: pictures that no other is predicted from, and those between the last one
  wanted of a group and the keyframe of the next one wanted.
- Where there is damage, FFmpeg paints over it what it finds in older pictures, which it may have or not have. So from
  the first complaint on, a picture is what a new decoder, begun at the last keyframe before that picture and given
  everything, makes of it.
- A picture that was painted over is none; one that may be predicted from it is degraded (see holes.py).
- A card's decoder is believed as long as nothing is wrong. From the first frame on that it has not given by then, the
  CPU decodes, as if it had begun there.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from cvpipe.video.hardware import SILENT, CardFailed
from cvpipe.video.holes import Wrong
from cvpipe.video.limits import Limits
from cvpipe.video.reel import Reel

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from cvpipe.video.nvdec import Card

_NEAR_FRAMES = 16
"""So many packets are read sooner than a seek is done."""
_KEYFRAMES_BACK = (0, 1, 3, 8)
"""How many keyframes before the right one to aim at, should a seek land behind it (MPEG-TS)."""
_START = -1
"""The place of the start of the file in the list of keyframes."""

Wanted = tuple[int, "VideoFrame | None", str | None]
"""Position in the request; the frame, or None and why there is none; with both, the frame and why it is degraded."""


class ExactFrames:
    """The frames wanted of a video, in order.

    numbers: frame numbers, ascending. pts: their pts. key_numbers, key_pts: of all keyframes of the video, ascending.
    around: pts of all frames, wanted or not, from the first one needed to the last one wanted; empty: not known, and
    then everything is decoded.
    counted: the frames have no usable times: count them from the first.
    card: whose decoder is asked first; on_card_failed: told why it is not any more.
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
        around: Sequence[int] = (),
        counted: bool,
        alive: Callable[[], None],
        card: Card | None = None,
        on_card_failed: Callable[[CardFailed], None] | None = None,
    ) -> None:
        self._alive = alive
        self._numbers = numbers
        self._clock = numbers if counted else pts
        self._counted = counted
        keys = [] if counted else [(n, t) for n, t in zip(key_numbers, key_pts, strict=True) if n > 0]
        self._key_numbers, self._key_pts = [n for n, _ in keys], [t for _, t in keys]
        self._false_keys: set[int] = set()
        self._around = around
        self._is_choosy = len(around) > 0 and not counted  # decode no more than is needed
        self._spoilt: set[int] = set()  # keyframes after which everything is to be decoded
        self._reel = Reel(fd, limits, stream=stream, alive=alive, card=card, on_card_failed=on_card_failed)
        self._given = 0  # up to where frames were handed out
        self._reached = 0  # the number of the frame that the packet before the next one about belongs to

    def __iter__(self) -> Iterator[Wanted]:
        at = 0
        jumps = self._find_jumps()
        while at < len(self._numbers):
            self._given = at
            try:
                at = yield from self._run(at, jumps[bisect_right(jumps, at)])
            except CardFailed as failure:
                self._reel.leave_card(failure)
                self._reached = 0
                at = self._given

    def _find_jumps(self) -> list[int]:
        """The positions whose keyframe lies behind frames that are not wanted, and the end."""
        jumps = []
        for at, (before, number) in enumerate(pairwise(self._numbers), 1):
            if number > before + 1:
                key = self._key_before(at)
                if key != _START and self._key_numbers[key] > before + 1:
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
        self._reel.renew()
        self._reached = 0

    def _run(self, at: int, stop: int) -> Generator[Wanted, None, int]:  # noqa: C901 - one decoder's life, in order
        """Decode for the positions from `at` to `stop` with one decoder. Returns where the next one has to go on."""
        key = self._key_before(at)
        first = self._go_to(key)
        is_new = self._reel.is_new
        is_proven = key == _START
        is_choosy = self._is_choosy and key not in self._spoilt
        end: float | None = None  # once there was damage: this decoder's pictures count up to here
        reason: str | None = None
        for clock, frame, wrong in self._decode_from(key, first, at, stop, is_choosy=is_choosy):
            reason = wrong.words if wrong else reason
            is_whole = frame is not None and wrong is None and not frame.is_corrupt
            if frame is not None and not is_proven:
                if clock != self._key_pts[key] or frame.is_corrupt:
                    break
                is_proven = True
            if end is None and (not is_whole or clock > self._clock[at]):
                if not is_new or is_choosy or key != self._key_before(at):
                    self._spoilt.add(self._key_before(at))
                    self._renew()
                    return at
                end = self._end_of_key(key)
            if frame is None:
                continue
            before = at
            at = yield from self._give_up(at, stop, clock if end is None else min(clock, end), reason)
            if at < stop and clock == self._clock[at] and (end is None or clock < end):
                is_shown = is_whole or (wrong is not None and wrong.is_degraded and not frame.is_corrupt)
                why = None if is_whole else reason or "the decoder calls the picture corrupt"
                yield at, frame if is_shown else None, why
                at += 1
                self._given = at
            if at == stop:
                self._reached = self._numbers[at - 1]
                return at
            if end is not None and clock >= end:
                break
            reason = reason if at == before else None
        else:
            # The file has ended, and nothing says that an older decoder would not have seen more.
            if is_proven and is_new and not is_choosy and key == self._key_before(at):
                at = yield from self._give_up(at, stop, self._end_of_key(key), reason)
        if at < stop and is_choosy:
            self._spoilt.add(self._key_before(at))
        elif not is_proven and is_new:
            self._false_keys.add(key)
        self._renew()
        return at

    def _give_up(self, at: int, stop: int, limit: float, reason: str | None) -> Generator[Wanted, None, int]:
        """Report the frames wanted before `limit` as damaged. Returns the position after them."""
        while at < stop and self._clock[at] < limit:
            if self._reel.is_on_card:
                raise CardFailed(SILENT)
            yield at, None, reason or "the decoder gave no picture"
            at += 1
        return at

    def _go_to(self, key: int) -> Packet[VideoStream] | None:
        """Go to where a decoder has to begin. Returns the keyframe's packet, None at the start or if there is none."""
        if key == _START:
            self._reel.to_start()
            return None
        earlier = [self._key_pts[key - back] for back in _KEYFRAMES_BACK if back <= key]
        is_near = 0 <= self._key_numbers[key] - self._reached <= _NEAR_FRAMES
        return self._reel.to_key(self._key_pts[key], earlier, is_near=is_near)

    def _decode_from(
        self, key: int, first: Packet[VideoStream] | None, at: int, stop: int, *, is_choosy: bool
    ) -> Iterator[tuple[int, VideoFrame | None, Wrong | None]]:
        """Decode from a keyframe: (pts or count, frame, None), or (0, None, a complaint).

        A frame may come with why it is wrong, by itself or by what it is predicted from.
        is_choosy: leave out what is not needed for the frames wanted from `at` to `stop`.
        """
        if key != _START and first is None:
            return
        beginning = None if key == _START else self._key_pts[key]
        unsent = stop - at
        can_skip = is_choosy and self._reel.can_skip()
        self._reel.skip(False)
        count = sent = 0
        holes = self._reel.holes()
        packet = self._reel.next() if first is None else first
        lost: str | None = None  # what is missing before the first one is needed for none
        while True:
            self._alive()
            if is_choosy and packet is not None:
                if not self._is_a_frame(packet):
                    self._is_choosy = False
                    return
                if not unsent:  # had it been a part of the last frame wanted, it would have been needed
                    self._reel.put_back(packet)
                    packet = None
                else:
                    is_wanted = _has(self._clock, packet.pts, at, stop)
                    self._reel.skip(can_skip and not is_wanted)
                    unsent -= is_wanted
            if packet is not None:
                sent += 1
                packet.opaque = sent
            frames, trouble = self._reel.decode(packet)
            # What is shown before the keyframe may be predicted from what we have not seen.
            is_early = (
                beginning is not None and packet is not None and packet.pts is not None and packet.pts < beginning
            )
            if not is_early:
                if trouble is not None:
                    yield 0, None, Wrong(trouble.words)
                holes.note(packet, trouble, sent, lost=lost)
            for frame in frames:
                clock = count if self._counted else frame.pts
                count += 1
                if clock is not None and (beginning is None or clock >= beginning):
                    yield clock, frame, holes.of(frame)
            if packet is None:
                return
            packet = self._reel.next()
            lost = self._reel.lost

    def _is_a_frame(self, packet: Packet[VideoStream]) -> bool:
        """Is it, for all that the index says, one whole frame? A field of one may have a packet of its own."""
        if packet.pts is None or not self._reel.is_shown(packet):
            return packet.pts is not None
        return not self._around[0] <= packet.pts <= self._around[-1] or _has(self._around, packet.pts)


def _has(ascending: Sequence[int], value: int | None, first: int = 0, stop: int | None = None) -> bool:
    """Is the value among those at `first` to `stop`?"""
    if value is None:
        return False
    stop = len(ascending) if stop is None else stop
    place = bisect_left(ascending, value, first, stop)
    return place < stop and ascending[place] == value
