"""The frames of an order: decoded, painted and handed over through the ring. Runs in decoder processes only."""

from __future__ import annotations

import mmap
import socket
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from cvpipe.video import wire
from cvpipe.video.deinterlace import Deinterlacer
from cvpipe.video.exact import ExactFrames, Wanted
from cvpipe.video.hardware import CardFailed
from cvpipe.video.limits import Limits
from cvpipe.video.nvdec import Card
from cvpipe.video.paint import Painter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class Delivery:
    """Decodes the frames wanted into free slots of the ring."""

    def __init__(self, end: socket.socket, ring: wire.Ring, shared: mmap.mmap, *, alive: Callable[[], None]) -> None:
        self._end, self._ring, self._alive = end, ring, alive
        self._slots = ring.arrays(shared)
        self._free = list(range(ring.slots))

    def run(self, video: int, limits: Limits, order: dict[str, Any], arrays: list[Any]) -> None:
        """Send all frames of the order."""
        numbers, pts, key_numbers, key_pts, wanted, around = (array.tolist() for array in arrays)
        painters = [Painter(v, rotation=order["rotation"], mirrored=order["mirrored"]) for v in self._ring.views]
        for place, painter in enumerate(painters):
            painter.prepare([slot[place] for slot in self._slots])
        frames = ExactFrames(
            video,
            limits,
            stream=order["stream"],
            numbers=numbers,
            pts=pts,
            key_numbers=key_numbers,
            key_pts=key_pts,
            around=around,
            counted=order["counted"],
            alive=self._alive,
            card=None if order.get("card") is None else Card(order["card"], order["format"]),
            on_card_failed=self._tell_failure,
        )
        places = {position: at for at, position in enumerate(wanted)}  # the others are neighbours of those wanted
        deinterlacer = Deinterlacer() if any(view.deinterlace for view in self._ring.views) else None
        pairs = pairwise(chain(frames, (None,))) if deinterlacer else ((item, None) for item in frames)
        before: Wanted | None = None
        for item, after in pairs:
            assert item is not None
            position, frame, complaint = item
            if (at := places.get(position)) is not None:
                if frame is None:
                    self._end.send(wire.damaged_message.pack(wire.DAMAGED, at) + (complaint or "").encode()[:1000])
                else:
                    whole = frame
                    if deinterlacer:
                        number = numbers[position]
                        neighbours = _frame(before, number - 1, numbers), _frame(after, number + 1, numbers)
                        whole = deinterlacer.whole(neighbours[0], frame, neighbours[1])
                    self._hand_over(at, frame, whole, painters, is_degraded=complaint is not None)
            before = item

    def _tell_failure(self, failure: CardFailed) -> None:
        self._end.send(wire.card_message.pack(wire.CARD, failure.place) + str(failure).encode()[:1000])

    def _hand_over(
        self, at: int, frame: VideoFrame, whole: VideoFrame, painters: Sequence[Painter], *, is_degraded: bool
    ) -> None:
        """Paint a frame into a free slot, and tell. whole: it as the views that deinterlace want it."""
        slot = self._take_slot()
        for view, painter, canvas in zip(self._ring.views, painters, self._slots[slot], strict=True):
            painter.paint(whole if view.deinterlace else frame, canvas)
        self._end.send(wire.frame_message.pack(wire.FRAME, at, slot, is_degraded))

    def _take_slot(self) -> int:
        if not self._free:
            data = self._end.recv(wire.MESSAGE_BYTES)
            if not data:
                raise BrokenPipeError  # the parent has gone
            self._free += wire.unpack_slots(data)
        return self._free.pop()


def _frame(item: Wanted | None, number: int, numbers: Sequence[int]) -> VideoFrame | None:
    """The frame of an item if it has this number."""
    return item[1] if item is not None and numbers[item[0]] == number else None
