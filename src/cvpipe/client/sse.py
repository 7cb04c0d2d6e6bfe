"""Server-sent events from bytes, as they come off the wire; no input or output of its own.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Written here, because the reader has to be woken
by comments too (a wait has a deadline, and a quiet stream sends nothing else), and has to hold a bounded amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Event:
    """One event. id: of the last event that had one, this one included; what `Last-Event-ID` wants."""

    kind: str
    data: str
    id: str


class EventParser:
    """Feed it bytes, get the events they complete. An event cut off by the end of the stream never appears.

    Memory: at most `MAX_EVENT_BYTES` and the bytes of one call.
    """

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._after_cr = False
        self._kind = ""
        self._data: list[str] = []
        self._data_bytes = 0
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes, in order.

        Raises: ValueError for an event over `MAX_EVENT_BYTES`, or one that is not UTF-8.
        """
        events = []
        for line in self._lines(chunk):
            event = self._take(line.decode())
            if event is not None:
                events.append(event)
        if self._tail_bytes + self._data_bytes > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return events

    def _lines(self, chunk: bytes) -> list[bytes]:
        if not chunk:
            return []
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = chunk.split(b"\n")
        self._tail.append(first)
        self._tail_bytes += len(first)
        if not rest:
            return []
        lines = [b"".join(self._tail), *rest[:-1]]
        self._tail = [rest[-1]]
        self._tail_bytes = len(rest[-1])
        return lines

    def _take(self, line: str) -> Event | None:
        if not line:
            data, self._data = self._data, []
            kind, self._kind = self._kind or "message", ""
            self._data_bytes = 0
            return Event(kind=kind, data="\n".join(data), id=self._id) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_bytes += len(line)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None
