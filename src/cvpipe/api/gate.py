"""The gate: finds out who asks, before anything of a request is read.

With keys, whatever is under `/v1`, and `/metrics`, needs a good one, or a token of the operator's identity provider;
probes and the documentation need none. Without keys, anybody on this machine is let in, and nothing that came from
elsewhere: neither through a proxy, nor from a page of another site in a browser here, nor by a name that was made to
lead here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cvpipe.api import problems
from cvpipe.errors import CvpipeError, Forbidden, NotFound, QuotaExceeded, Unauthenticated
from cvpipe.keys import ANYBODY, ApiKey, Credential, Identity
from cvpipe.loopback import is_loopback, is_loopback_host
from cvpipe.store import Store

if TYPE_CHECKING:
    from cvpipe.api.tokens import Tokens

CHALLENGE: Final = 'Bearer realm="cvpipe"'
"""With every 401; where something came, also that it is not good (RFC 6750, 3)."""

_KNOWN_SECONDS: Final = 1.0
"""A key is looked up again after so long: revoked, it is good for a second at most."""
_KNOWN_KEYS: Final = 10_000
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
_FAR: Final = (
    "this service runs without keys, for its own machine alone, and the request {how}; "
    "have the operator set CVPIPE_AUTH=keys"
)


class Gate:
    """Puts the `Identity` of who asks into the request's state, as `identity`; refuses whom it does not know.

    tokens: reads those of an identity provider; None: there is none. Memory: `_KNOWN_KEYS` keys.
    """

    def __init__(self, app: ASGIApp, *, needs_keys: bool, tokens: Tokens | None = None) -> None:
        self._app = app
        self._needs_keys = needs_keys
        self._tokens = tokens
        self._known: dict[str, tuple[float, ApiKey, str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity: Identity | None = ANYBODY
        try:
            if self._needs_keys:
                identity = await self._holder(Headers(scope=scope), scope["app"].state.resources.store)
            else:
                check_near(scope["headers"])
        except CvpipeError as error:
            if is_guarded(scope["path"]) or not self._needs_keys:
                await _refuse(error, scope, receive, send)
                return
            identity = None
        scope.setdefault("state", {})["identity"] = identity
        await self._app(scope, receive, send)

    async def _holder(self, headers: Headers, store: Store) -> Identity:
        """Who holds the key or the token that came.

        Raises: Unauthenticated, Forbidden, QuotaExceeded, StoreUnavailable, Unavailable.
        """
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if not text:
            raise Unauthenticated("wanted the header `Authorization: Bearer cvp_...`, got none")
        if scheme.lower() != "bearer":
            raise Unauthenticated("wanted the header `Authorization: Bearer cvp_...`, got another scheme")
        credential = Credential.parse(text.strip())
        if credential is None and self._tokens is not None and not text.startswith("cvp_"):
            holder = await self._tokens.holder(text.strip())
            if holder.key is not None and holder.quotas.requests_per_minute is not None:
                await _count(store, holder.key, holder.quotas.requests_per_minute)
            return holder
        if credential is None:
            raise Unauthenticated("what came is no API key: one is `cvp_`, 12 and, behind another `_`, 64 characters")
        key, digest = await self._find(credential.id, store)
        if not credential.matches(digest):
            raise _unknown()
        try:
            key.check(time.time())
        except ValueError as error:
            raise Unauthenticated(f"{error}; ask for another") from None
        if key.quotas.requests_per_minute is not None:
            await _count(store, key.id, key.quotas.requests_per_minute)
        return Identity(key.tenant, frozenset(key.scopes), key.id, key.quotas)

    async def _find(self, key_id: str, store: Store) -> tuple[ApiKey, str]:
        known = self._known.get(key_id)
        if known is None or time.monotonic() - known[0] > _KNOWN_SECONDS:
            try:
                key, digest = await anyio.to_thread.run_sync(_look_up, store, key_id)
            except NotFound:
                self._known.pop(key_id, None)
                raise _unknown() from None
            if len(self._known) >= _KNOWN_KEYS:
                self._known.clear()
            known = self._known[key_id] = (time.monotonic(), key, digest)
        return known[1:]


def is_guarded(path: str) -> bool:
    """Whether a path is only for those who are known."""
    return path == "/v1" or path.startswith("/v1/") or path == "/metrics"


def check_near(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises: Forbidden where a request to a service without keys did not begin on its own machine."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    if not _FORWARDED.isdisjoint(found):
        raise Forbidden(_FAR.format(how="came through a proxy"))
    if not _is_here(found.get(b"host", b"").decode("latin-1")):
        raise Forbidden(_FAR.format(how="is for another host"))
    origin = found.get(b"origin")
    is_elsewhere = origin is not None and not is_loopback(origin.decode("latin-1"))
    if is_elsewhere or found.get(b"sec-fetch-site") == b"cross-site":
        raise Forbidden(_FAR.format(how="came from a page of another site"))


@lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    return is_loopback_host(urlsplit(f"//{host}").hostname or "")


def _look_up(store: Store, key_id: str) -> tuple[ApiKey, str]:
    key, digest = store.key(key_id)
    store.note_use(key)
    return key, digest


async def _count(store: Store, key_id: str, per_minute: int) -> None:
    wait = await anyio.to_thread.run_sync(store.take_request, key_id, per_minute)
    if wait:
        message = f"the key may make {per_minute} requests a minute, and has made them"
        raise QuotaExceeded(message, retry_after_seconds=wait)


def _unknown() -> Unauthenticated:
    return Unauthenticated("there is no such key")  # the same whether the id or the secret is wrong


async def _refuse(error: CvpipeError, scope: Scope, receive: Receive, send: Send) -> None:
    if error.status == 401:
        came = any(name == b"authorization" for name, _ in scope["headers"])
        headers = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"' if came else CHALLENGE}
    else:
        headers = problems.retry_after(error)
    response = problems.respond(error.code, error.message, status=error.status, instance=scope["path"], headers=headers)
    await response(scope, receive, send)
