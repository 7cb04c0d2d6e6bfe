"""The frames of an order: decoded, painted and handed over through the ring. Runs in decoder processes only."""

from __future__ import annotations

import mmap
import socket
from collections.abc import Callable
from typing import Any

from cvpipe.video import wire
from cvpipe.video.exact import ExactFrames
from cvpipe.video.limits import Limits
from cvpipe.video.paint import Painter


class Delivery:
    """Decodes the frames wanted into free slots of the ring."""

    def __init__(self, end: socket.socket, ring: wire.Ring, shared: mmap.mmap, *, alive: Callable[[], None]) -> None:
        self._end, self._ring, self._alive = end, ring, alive
        self._slots = ring.arrays(shared)
        self._free = list(range(ring.slots))

    def run(self, video: int, limits: Limits, order: dict[str, Any], arrays: list[Any]) -> None:
        """Send all frames of the order."""
        numbers, pts, key_numbers, key_pts = (array.tolist() for array in arrays)
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
            counted=order["counted"],
            alive=self._alive,
        )
        for at, frame, complaint in frames:
            if frame is None:
                reason = (complaint or "").encode()[:1000]
                self._end.send(wire.damaged_message.pack(wire.DAMAGED, at) + reason)
                continue
            slot = self._take_slot()
            for painter, canvas in zip(painters, self._slots[slot], strict=True):
                painter.paint(frame, canvas)
            self._end.send(wire.frame_message.pack(wire.FRAME, at, slot))

    def _take_slot(self) -> int:
        if not self._free:
            data = self._end.recv(wire.MESSAGE_BYTES)
            if not data:
                raise BrokenPipeError  # the parent has gone
            self._free += wire.unpack_slots(data)
        return self._free.pop()
