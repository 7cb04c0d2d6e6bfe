"""Connections that nobody may hold for nothing: clients that send or read too slowly are cut off.

uvicorn has a limit for the silence between two requests only. Here a request's head must come within 10 s, a body must
come at 1 kB a second on average once it has had 30 s, and of an answer something must be read every minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
BODY_BYTES_PER_SECOND: Final = 1000.0
READ_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Patience(H11Protocol):
    """A connection with a timer for whatever the client owes it now: the rest of a head, of a body, or its reading."""

    head_seconds, body_seconds, read_seconds = HEAD_SECONDS, BODY_SECONDS, READ_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._body: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._received = 0
        self._request: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A head is to come."""
        super().connection_made(transport)
        self._want_head()

    def data_received(self, data: bytes) -> None:
        """Something came: see what is owed now."""
        super().data_received(data)
        if self.cycle is not self._request:
            self._request, self._began_at, self._received = self.cycle, time.monotonic(), 0
        self._received += len(data)
        state = self.conn.their_state
        if state is h11.IDLE and self.conn.trailing_data[0]:
            self._want_head()
        else:
            _stop(self._head)
            self._head = None
        _stop(self._body)
        self._body = None
        if state is h11.SEND_BODY:  # also behind an answer that did not wait for all of it
            self._want_body()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is owed any more."""
        for timer in (self._head, self._body, self._reader):
            _stop(timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read, and its share of memory is full."""
        super().pause_writing()
        self._want_reader()

    def resume_writing(self) -> None:
        """It has read most of what there was."""
        super().resume_writing()
        _stop(self._reader)
        self._reader = None

    def _want_head(self) -> None:
        """All of it in time, however it comes: whoever sends a byte now and then gets no more."""
        if self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self._cut, "sent no request in time")

    def _want_body(self) -> None:
        allowed = self.body_seconds + self._received / BODY_BYTES_PER_SECOND
        left = max(0.0, self._began_at + allowed - time.monotonic())
        self._body = self.loop.call_later(left, self._check_body)

    def _check_body(self) -> None:
        if self.flow.read_paused:  # we do not take what it sends: a slow disk is not its fault
            self._began_at += self.body_seconds
            self._want_body()
        else:
            self._cut("sent its body too slowly")

    def _want_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(self.read_seconds, self._check_reader, waiting)

    def _check_reader(self, waiting: int) -> None:
        if self.transport.get_write_buffer_size() < waiting:
            self._want_reader()
        else:
            self._cut("did not read its answer")

    def _cut(self, why: str) -> None:
        _log.info("a client %s and was cut off", why)
        self.transport.abort()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
