"""Answers: what a server said, read no further than asked for, and unpacked no further either."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_GZIP_OR_ZLIB = 47  # zlib's window bits that read either header


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. headers: by name in lower case. problem: why `body` is not all of it; None: it is."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    problem: str | None = None

    @property
    def retry_after_seconds(self) -> float | None:
        """The wait that the server asks for; None where it asks for none.

        A date is read against the server's own clock (its header Date), not ours.
        """
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdecimal():
            return float(value[:9])
        try:
            wait = parsedate_to_datetime(value) - parsedate_to_datetime(self.headers["date"])
        except (KeyError, TypeError, ValueError):
            return None
        return max(wait.total_seconds(), 0.0)


class Reading:
    """The body of an answer, as it comes. Memory: `limit` bytes and one read."""

    def __init__(self, encoding: str, limit: int) -> None:
        """encoding: of the header Content-Encoding. limit: bytes, of what comes and of what it unpacks to."""
        self.body = bytearray()
        self.problem: str | None = None
        self._limit = limit
        self._left = limit
        self._unpacker = None
        encoding = encoding.strip().lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in ("", "identity"):
            self.problem = f"the answer is packed as {encoding[:40]!r}, which was not asked for"

    async def take(self, parts: AsyncIterable[bytes]) -> None:
        """Read to the end, or to the first problem."""
        async for part in parts:
            self._left -= len(part)
            if self._left < 0:
                self.problem = self.problem or self._too_long()
            elif self.problem is None:
                self._add(part)
            if self.problem is not None and self._left < 0:
                return
        if self._unpacker is not None and self.problem is None and not self._unpacker.eof:
            self.problem = "the answer's packed body broke off"

    def _add(self, part: bytes) -> None:
        if self._unpacker is None:
            self.body += part
            return
        try:
            self.body += self._unpacker.decompress(part, self._limit - len(self.body) + 1)
        except zlib.error:
            self.problem = "the answer's body is not packed as it says"
            return
        if len(self.body) > self._limit:
            del self.body[self._limit :]
            self.problem = self._too_long()

    def _too_long(self) -> str:
        return f"the answer has more than {self._limit} bytes"
