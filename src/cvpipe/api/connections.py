"""Connections that nobody may hold for nothing: clients that send or read too slowly are cut off.

uvicorn has a limit for the silence between two requests only. Here a request's head must come within 10 s, a body must
come at 1 kB a second on average once it has had 30 s, and of an answer something must be read every minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final, Literal

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
BODY_BYTES_PER_SECOND: Final = 1000.0
READ_SECONDS: Final = 60.0
HEAD_BYTES: Final = 1 << 20
"""Longest head of a request: all parameters of `addModel`, each character escaped to twelve, fit in."""

_OFFER: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})

_log = logging.getLogger(__name__)


class Patience(HttpToolsProtocol):
    """A connection with a timer for whatever the client owes it now: the rest of a head, of a body, or its reading.

    Memory: a head of HEAD_BYTES, and what one read brings.
    """

    head_seconds, body_seconds, read_seconds = HEAD_SECONDS, BODY_SECONDS, READ_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._body: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._part: Literal["head", "body"] | None = None
        self._began_at = 0.0
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A head is to come."""
        super().connection_made(transport)
        self._want_head()

    def data_received(self, data: bytes) -> None:
        """Something came: see what is owed now."""
        _stop(self._body)
        self._body = None
        self._received += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None before the first request
        if self._part == "body":  # also behind an answer that did not wait for all of it
            self._want_body()
        elif self._part == "head" or cycle is None or cycle.response_complete:
            if self._received > HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")
            self._want_head()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._part, self._received = "head", 0

    def on_headers_complete(self) -> None:
        """A head is here: a body may follow."""
        if self._offers_upgrade():
            return
        self._part, self._began_at, self._received = "body", time.monotonic(), 0
        _stop(self._head)
        self._head = None
        # Set apart here: uvicorn's way of doing so ends at 64 KiB.
        self.url, _, query = self.url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query.partition(b"#")[0]

    def on_message_complete(self) -> None:
        """All of a request is here."""
        if self._offers_upgrade():
            return
        self._part, self._received = None, 0
        super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A client that would rather speak HTTP/2, or by a WebSocket: it must do with what we speak. The parser
            # takes no body of such a request, so another reads it without the offer.
            lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
            lines += [b"%s: %s" % pair for pair in self.headers if pair[0] not in _OFFER]
            self.parser = httptools.HttpRequestParser(self)
            self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + data[upgrade.args[0] :])

    def _offers_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

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
            self._head = self.loop.call_later(self.head_seconds, self._check_head)

    def _check_head(self) -> None:
        self._head = None
        if self.flow.read_paused:  # we do not take what it sends: it asks faster than we answer
            self._want_head()
        else:
            self._cut("sent no request in time")

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
