"""What a decoder process and its parent say to each other, and how the memory they share is laid out.

A request is three descriptors handed to the fork-server: one end of a SOCK_SEQPACKET pair, the opened video, and a
sealed memfd; one without any asks for usage. The memfd holds the order (JSON, then arrays) and behind it the ring:
slots, each with room for one picture of every view.

    child -> parent   F number-in-request, slot, 0 or 1   a frame is ready in a slot; 1: it is degraded
                      D number-in-request, reason         a frame that could not be decoded
                      C why, words                        the CPU goes on instead of the card (`FAILURES`)
                      P bytes                             a part of an index
                      W offset bytes                      to be written to the file that is made
                      A                                   alive: working on something that takes long
                      E bytes                             an error: {"code", "message"}
                      Z                                   all is done
    fork-server -> parent, over the same socket
                      X status                            the child has ended (as waitpid tells)
    fork-server -> parent, over the fork-server's socket
                      S pid (with a pidfd)                the child runs
                      R reason                            there is no child
                      U peak bytes, processor seconds     of the children that have ended since that was last asked
    parent -> child   a slot                              the parent has no more use for the slot's pictures
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.frames import View

FRAME: Final = ord("F")
DAMAGED: Final = ord("D")
CARD: Final = ord("C")
PART: Final = ord("P")
WRITE: Final = ord("W")
ALIVE: Final = ord("A")
ERROR: Final = ord("E")
END: Final = ord("Z")
STARTED: Final = ord("S")
REFUSED: Final = ord("R")
EXITED: Final = ord("X")
USAGE: Final = ord("U")

MESSAGE_BYTES: Final = 65536
"""No message is longer."""

frame_message: Final = struct.Struct("<BIHB")
damaged_message: Final = struct.Struct("<BI")
card_message: Final = struct.Struct("<BB")
write_message: Final = struct.Struct("<BQ")
started_message: Final = struct.Struct("<BI")
exit_message: Final = struct.Struct("<Bi")
usage_message: Final = struct.Struct("<BQd")
_slot: Final = struct.Struct("<H")

WRITE_BYTES: Final = MESSAGE_BYTES - write_message.size
"""No write message carries more."""

_HEAD = struct.Struct("<IQ")
_ALIGN = 64  # a cache line, and enough for any vector instruction


@dataclass(frozen=True, slots=True)
class Ring:
    """Where pictures lie in the shared memory: `slots` x (one picture of each view) from byte `start`.

    Memory: slots x the sum of the views' nbytes, each rounded up to 64.
    """

    views: tuple[View, ...]
    slots: int
    start: int

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot."""
        return sum(-(-view.nbytes // _ALIGN) * _ALIGN for view in self.views)

    @property
    def stop(self) -> int:
        """Bytes of the whole memory."""
        return self.start + self.slots * self.slot_bytes

    def arrays(self, memory: mmap.mmap) -> list[tuple[npt.NDArray[np.uint8], ...]]:
        """For each slot, one array a view, of the view's shape, lying in `memory`."""
        slots = []
        offset = self.start
        for _ in range(self.slots):
            images = []
            for view in self.views:
                images.append(np.frombuffer(memory, np.uint8, view.nbytes, offset).reshape(view.shape))
                offset += -(-view.nbytes // _ALIGN) * _ALIGN
            slots.append(tuple(images))
        return slots


def pack_slots(slots: Sequence[int]) -> bytes:
    """The message that slots are free."""
    return b"".join(_slot.pack(slot) for slot in slots)


def unpack_slots(message: bytes) -> list[int]:
    """The inverse of `pack_slots`."""
    return [slot for (slot,) in _slot.iter_unpack(message)]


def share(
    order: Mapping[str, Any], arrays: Sequence[npt.NDArray[np.int64]], views: Sequence[View], slots: int
) -> tuple[int, Ring]:
    """A memfd that holds an order and has room for the ring; returns it and the ring's layout.

    It is sealed against a change of size: a decoder taken over by its video could otherwise cut it under its parent's
    feet, who would die of SIGBUS.
    """
    head = {**order, "arrays": [len(a) for a in arrays], "views": [view.to_dict() for view in views], "slots": slots}
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + _HEAD.size) % 8)
    start = _HEAD.size + len(text) + sum(a.nbytes for a in arrays)
    start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    ring = Ring(tuple(views), slots, start)
    fd = os.memfd_create("cvpipe-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, ring.stop)
        with open(fd, "wb", closefd=False) as file:
            file.write(_HEAD.pack(len(text), start) + text)
            file.writelines(np.ascontiguousarray(array, np.int64).tobytes() for array in arrays)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd, ring


def read_order(memory: mmap.mmap) -> tuple[dict[str, Any], list[npt.NDArray[np.int64]], Ring]:
    """The inverse of `share`, in the child."""
    length, start = _HEAD.unpack_from(memory)
    offset = _HEAD.size + length
    order = json.loads(memory[_HEAD.size : offset])
    arrays = []
    for count in order["arrays"]:
        arrays.append(np.frombuffer(memory, np.int64, count, offset))
        offset += count * 8
    views = tuple(View.from_dict(view) for view in order["views"])
    return order, arrays, Ring(views, order["slots"], start)
