"""How many event streams there may be: of one API process, and of each key across all of them."""

from __future__ import annotations

import secrets
import time
from typing import Final

import anyio
from fastapi.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from cvpipe.api.resources import Resources
from cvpipe.errors import QuotaExceeded, Unavailable
from cvpipe.keys import Identity

_HELD_SECONDS: Final = 60.0
"""So long after the death of this process a stream of its counts no more."""
_HOLD_EVERY_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 5.0


class Place:
    """A place among the streams, taken until it is left."""

    def __init__(self, resources: Resources, identity: Identity) -> None:
        self._resources = resources
        self._key, self._limit = identity.key, identity.quotas.streams
        self._name = secrets.token_hex(8)
        self._held_at = 0.0

    async def take(self) -> None:
        """Raises: Unavailable, QuotaExceeded where there are as many as there may be; StoreUnavailable."""
        try:
            self._resources.streams.acquire_nowait()
        except anyio.WouldBlock:
            raise Unavailable("as many event streams are open as may be (CVPIPE_MAX_STREAMS)") from None
        try:
            await self.hold()
        except BaseException:
            self._resources.streams.release()
            raise

    async def hold(self) -> None:
        """Go on holding it; does something only now and then. Raises: QuotaExceeded, StoreUnavailable."""
        if self._key is None or self._limit is None or time.monotonic() - self._held_at < _HOLD_EVERY_SECONDS:
            return
        key, limit = self._key, self._limit
        held = await anyio.to_thread.run_sync(
            lambda: self._resources.store.hold_stream(key, self._name, limit, seconds=_HELD_SECONDS)
        )
        if not held:
            message = f"the key may have {limit} event streams at a time, and has them"
            raise QuotaExceeded(message, retry_after_seconds=_AGAIN_SECONDS)
        self._held_at = time.monotonic()

    async def leave(self) -> None:
        """Let another have it."""
        self._resources.streams.release()
        if self._key is not None and self._limit is not None:
            await anyio.to_thread.run_sync(self._resources.store.release_stream, self._key, self._name)


class HeldStream(EventSourceResponse):
    """A stream that leaves its place at its end, however that comes."""

    place: Place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self.place.leave()
