"""Exactly the frames wanted, decoded from as near as that is possible. Runs in decoder processes only.

A frame is what its pts says it is. Seeks land where they like, keyframe flags lie, decoders drop what they can't
predict: so what comes out is checked against the index, and where the first frame wanted does not come, decoding begins
further back, at last at the first frame of the file. What does not come then would not come in a sequential
reading either, and is damaged. That makes the frames of a chunk equal to those of a sequential reading, bit for bit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from cvpipe.video.decode import decode, packets
from cvpipe.video.limits import Limits
from cvpipe.video.source import Source, open_source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SKIP_FRAMES = 32
"""Where so many frames lie between one wanted and the keyframe of the next, seeking is faster than decoding them."""
_KEYFRAMES_BACK = (0, 1, 3, 8)
"""How far to go back, in keyframes, before decoding from the start of the file."""

Wanted = tuple[int, "VideoFrame | None", str | None]
"""Position in the request; the frame, or None and why there is none."""


class _LandedBehind(Exception):
    """A seek ended behind the keyframe it was meant for."""


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
        self._key_numbers, self._key_pts = key_numbers, key_pts
        self._counted = counted
        self._source = self._open()
        self._at_start = True

    def __iter__(self) -> Iterator[Wanted]:
        for first, stop in self._runs():
            yield from self._run(first, stop)

    def _open(self) -> Source:
        return open_source(self._fd, self._limits, stream=self._stream)

    def _runs(self) -> list[tuple[int, int]]:
        """The request cut where it is better to seek than to decode through."""
        cuts = [0]
        if not self._counted:
            for at in range(1, len(self._numbers)):
                if self._numbers[at] - self._numbers[at - 1] > _SKIP_FRAMES:
                    key = bisect_right(self._key_numbers, self._numbers[at]) - 1
                    if key >= 0 and self._key_numbers[key] - self._numbers[at - 1] > _SKIP_FRAMES:
                        cuts.append(at)
        return list(zip(cuts, [*cuts[1:], len(self._numbers)], strict=True))

    def _beginnings(self, number: int) -> list[int | None]:
        """Where decoding for a frame may begin, best first: pts of keyframes, then None for the start of the file."""
        if self._counted:
            return [None]
        key = bisect_right(self._key_numbers, number) - 1
        # The first keyframe of the index is where the file starts: no need to seek to it.
        return [self._key_pts[key - back] for back in _KEYFRAMES_BACK if key - back > 0] + [None]

    def _run(self, first: int, stop: int) -> Iterator[Wanted]:
        beginnings = self._beginnings(self._numbers[first])
        at = first
        for beginning in beginnings:
            sure = beginning is None  # nothing is to be gained by beginning further back
            complaint: str | None = None
            try:
                for clock, frame, trouble in self._from(beginning):
                    complaint = trouble or complaint
                    if frame is None:
                        continue
                    if clock < self._clock[at]:
                        sure = sure or not frame.is_corrupt
                        continue
                    if not sure and (clock > self._clock[at] or frame.is_corrupt):
                        break
                    sure = True
                    while at < stop and self._clock[at] < clock:
                        yield at, None, complaint or "the decoder gave no picture"
                        at += 1
                    if at < stop and self._clock[at] == clock:
                        if frame.is_corrupt:
                            yield at, None, complaint or "the decoder says that the picture is corrupt"
                        else:
                            yield at, frame, None
                        at += 1
                        complaint = None
                    if at == stop:
                        return
            except _LandedBehind:
                continue
            if sure:
                break
        for rest in range(at, stop):
            yield rest, None, complaint or "the decoder gave no picture"

    def _from(self, beginning: int | None) -> Iterator[tuple[int, VideoFrame | None, str | None]]:
        """Decode from a keyframe, or from the start: (pts or count, frame, None), or (0, None, complaint)."""
        if beginning is None:
            if not self._at_start:
                self._source.close()
                self._source = self._open()
        else:
            self._source.container.seek(beginning, stream=self._source.stream)
        self._at_start = False
        waiting = beginning is not None
        count = 0
        for packet in packets(self._source):
            self._alive()
            if waiting and beginning is not None:
                if packet is None or _lies_behind(packet, beginning):
                    raise _LandedBehind
                if not packet.is_keyframe or packet.pts is None:
                    continue
                waiting = False
            frames, complaint = decode(self._source, packet)
            if complaint is not None:
                yield 0, None, complaint
            for frame in frames:
                clock = count if self._counted else frame.pts
                count += 1
                # Frames shown before the keyframe we began at may be predicted from what we have not seen.
                if clock is not None and (beginning is None or clock >= beginning):
                    yield clock, frame, None


def _lies_behind(packet: Packet[VideoStream], beginning: int) -> bool:
    return packet.is_keyframe and packet.pts is not None and packet.pts > beginning
