"""What a call of the client does, one step at a time, with the input and output left to whoever runs it.

A call is a generator: it yields a step, is sent what came of it, and returns the result of the call. The two clients
differ only in how they take a step, so that retries, resuming and every reading of an answer exist once. A step that
fails on the network has the `httpx.RequestError` thrown into the call.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from cvpipe.errors import InvalidRequest, Unavailable

T = TypeVar("T")
OnTransfer: TypeAlias = Callable[[int, int], None]

BLOCK_BYTES: Final = 256 * 1024
"""A transfer holds this much of a file in memory."""

CALL_WAITS: Final = (0.2, 0.4, 0.8, 1.6)
"""Seconds between the attempts of one call: a hiccup is bridged, a service that is down is told within 3 s."""

FOLLOW_WAITS: Final = (0.2, 0.4, 0.8, 1.6, *(3.0,) * 19)
"""The same for calls that follow a job: they outlive a restart of the service, for a minute."""

_RETRY_STATUSES: Final = frozenset({429, 502, 503, 504})
_MAX_RETRY_AFTER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request with a short body; comes to a response that is read."""

    method: str
    path: str
    params: Mapping[str, str | int | float | Sequence[str]] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Put:
    """A request whose body is a file; comes to a response that is read."""

    path: str
    params: Mapping[str, str | int | float]
    source: Path
    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Patch:
    """A request whose body is a part of a file, from `offset` on; comes to a response that is read."""

    path: str
    headers: Mapping[str, str]
    offset: int
    part: bytes
    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request whose answer, if it is 200, goes into a file; comes to a response, read where it is not 200."""

    path: str
    target: Path
    on_progress: OnTransfer | None
    params: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An event stream on the line. chunks: an iterator, or an asynchronous one, over its bytes."""

    response: httpx.Response
    chunks: Any


@dataclass(frozen=True, slots=True)
class Listen:
    """Open an event stream; comes to `Opened`, or to a response that is read where it is not an event stream.

    silence_seconds: the connection counts as lost when nothing comes for so long.
    """

    path: str
    params: Mapping[str, str | int | float]
    last_event_id: str | None
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for the next bytes of an open event stream; comes to bytes, none at its end."""

    opened: Opened


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close an event stream."""

    opened: Opened


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Something that keeps the thread for a while; comes to what `done` returns."""

    done: Callable[[], Any]


Request: TypeAlias = Ask | Put | Patch | Fetch | Listen
Step: TypeAlias = Request | Hear | HangUp | Sleep | Work
Answer: TypeAlias = Any  # a response, `Opened`, bytes, nothing, or what `Work` returns
Call: TypeAlias = Generator[Step, Any, T]


class Transfer:
    """Counts and hashes what of a file has been sent. size: of the file, in bytes."""

    def __init__(self, source: Path, on_progress: OnTransfer | None) -> None:
        self.size = source.stat().st_size
        self._source = source
        self._on_progress = on_progress
        self.restart()

    def restart(self) -> None:
        """Begin again: the file is sent from its start."""
        self._sha256 = hashlib.sha256()
        self._hashed = 0
        self.sent = 0

    def read(self, offset: int, size: int) -> bytes:
        """A part of the file; those before it have been read. Raises: InvalidRequest where the file ends before."""
        size = min(size, self.size - offset)
        with self._source.open("rb") as file:
            file.seek(offset)
            part = file.read(size)
        if len(part) < size:
            self.expect(b"")
        new = part[self._hashed - offset :] if self._hashed > offset else part
        self._sha256.update(new)
        self._hashed += len(new)
        return part

    def tell(self, sent: int) -> None:
        """So many bytes are on their way, or have arrived."""
        self.sent = sent
        if self._on_progress is not None:
            self._on_progress(self.sent, self.size)

    def blocks(self, part: bytes, offset: int) -> Iterator[bytes]:
        """A part that was read, in blocks of BLOCK_BYTES, which are counted as they are taken."""
        for place in range(0, len(part), BLOCK_BYTES):
            block = part[place : place + BLOCK_BYTES]
            yield block
            self.tell(offset + place + len(block))

    def count(self, block: bytes) -> None:
        """`block` is on its way."""
        self._sha256.update(block)
        self.tell(self.sent + len(block))

    @property
    def next_bytes(self) -> int:
        """How much to read for the next block; 0: all was sent. A file that grows is sent as long as it was."""
        return min(BLOCK_BYTES, self.size - self.sent)

    def expect(self, block: bytes) -> None:
        """Raises: InvalidRequest where the file ends before its size."""
        if not block:
            raise InvalidRequest(f"{self._source} became shorter while it was sent")

    @property
    def sha256(self) -> str:
        """Of what was sent, in hexadecimal."""
        return self._sha256.hexdigest()


@dataclass(slots=True)
class Doubt:
    """How often a request was sent and its answer lost: it may have been carried out."""

    lost_answers: int = 0


def take(
    request: Request, *, base_url: str, waits: tuple[float, ...], doubt: Doubt | None = None
) -> Call[httpx.Response | Opened]:
    """What `request` comes to, tried again where the connection fails or the answer is 429, 502, 503 or 504.

    Only for requests that may be carried out twice without harm, as all of this client's are.
    Raises: Unavailable after the last of `waits`.
    """
    left = jittered(waits)
    while True:
        try:
            response: httpx.Response | Opened = yield request
        except httpx.RequestError as error:
            never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            if doubt is not None and not never_sent:
                doubt.lost_answers += 1
            wait = next(left, None)
            if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError) or wait is None:
                raise unavailable(base_url, error) from error
        else:
            if isinstance(response, Opened) or response.status_code not in _RETRY_STATUSES:
                return response
            wait = next(left, None)
            if wait is None:
                return response
            wait = max(wait, _retry_after(response))
        yield Sleep(wait)


def unavailable(base_url: str, error: httpx.RequestError) -> Unavailable:
    """What a user can act on, from what httpx says."""
    if isinstance(error, httpx.ConnectError):
        return Unavailable(
            f"nothing answers at {base_url} ({error}); is the service running there? `cvpipe up` starts one"
        )
    if isinstance(error, httpx.TimeoutException):
        what = {httpx.ConnectTimeout: "connecting", httpx.WriteTimeout: "sending"}.get(
            type(error), "waiting for an answer"
        )
        return Unavailable(f"{base_url}: timed out {what}")
    return Unavailable(f"{base_url}: the connection broke ({str(error) or type(error).__name__})")


def jittered(waits: tuple[float, ...]) -> Iterator[float]:
    """Waits that differ a little from client to client."""
    return (wait * random.uniform(0.75, 1.25) for wait in waits)  # noqa: S311 - spreads load, guards nothing


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value[:9]), _MAX_RETRY_AFTER_SECONDS) if value.isascii() and value.isdecimal() else 0.0
