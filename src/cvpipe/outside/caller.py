"""Calls: one request, one answer, within a time and a size, and nothing that the rules forbid."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

import httpcore

from cvpipe.errors import AddressRefused, CvpipeError, OutsideUnavailable
from cvpipe.outside.answers import Answer, Reading
from cvpipe.outside.connecting import CheckedBackend, Own, Resolve, system_resolve
from cvpipe.outside.rules import Rules
from cvpipe.outside.targets import Target

if TYPE_CHECKING:
    from cvpipe.settings import Settings

_MAX_ERROR_CHARACTERS: Final = 200
_NAMES_OF_HERE: Final = ("localhost", "localhost.localdomain", "metadata.google.internal", "metadata")


class Caller(Protocol):
    """What makes calls; `Outside`, or what stands for it in a test."""

    def check(self, url: str) -> Target:
        """See `Outside.check`."""
        ...

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        max_answer_bytes: int,
    ) -> Answer:
        """See `Outside.call`."""
        ...


class Outside:
    """The guarded HTTP client. Thread-safe; each call has a connection of its own.

    Redirects are not followed, cookies not kept; what the environment says of proxies and passwords is not looked at.
    """

    def __init__(self, rules: Rules, *, resolve: Resolve = system_resolve) -> None:
        """resolve: looks names up; tests bring one of their own."""
        self._rules = rules
        self._resolve = resolve
        self._own = Own(rules, resolve)

    @classmethod
    def of(cls, settings: Settings) -> Outside:
        """With the rules that an operator has set."""
        return cls(Rules.of(settings))

    def check(self, url: str) -> Target:
        """What can be said of an address without asking anybody; names are looked up when they are called.

        Raises: AddressRefused.
        """
        target = Target.parse(url)
        if target.address is not None:
            self._rules.check(target.address, target.port)
        elif not self._rules.loopback and (target.host in _NAMES_OF_HERE or target.host.endswith(".localhost")):
            raise AddressRefused(
                f"{target.host} is not called; the operator opens it with CVPIPE_OUTSIDE_LOOPBACK=true"
            )
        return target

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        max_answer_bytes: int,
    ) -> Answer:
        """Make one call. Not from a running event loop.

        headers: names in lower case. timeout_seconds: for all of it, look-up to last byte, however slowly bytes come.
        max_answer_bytes: of the body, as it comes and unpacked; what is behind is not read (`Answer.problem`).
        Raises: AddressRefused; OutsideUnavailable where there was no answer.
        """
        target = self.check(url)
        # A coroutine, because only a cancelled one bounds a call as a whole: a socket's timeout starts again with every
        # byte, and a server that sends one each second would hold a worker for hours.
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(
                self._within(
                    method,
                    target,
                    headers=headers,
                    body=body,
                    timeout_seconds=timeout_seconds,
                    max_answer_bytes=max_answer_bytes,
                )
            )
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()  # asyncio.run() would first wait for a look-up that was given up

    async def _within(
        self,
        method: str,
        target: Target,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float,
        max_answer_bytes: int,
    ) -> Answer:
        url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.given_port,
            target=target.path.encode(),
        )
        sent = {"host": target.authority, "accept-encoding": "identity", **headers}
        lines = [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]
        got: list[Answer] = []
        try:
            async with asyncio.timeout(timeout_seconds), self._pool(target) as pool:
                timeout = {"connect": timeout_seconds, "read": timeout_seconds, "write": timeout_seconds}
                async with pool.stream(
                    method, url, headers=lines, content=body, extensions={"timeout": timeout}
                ) as response:
                    got.append(_answer(response))
                    reading = Reading(got[0].headers.get("content-encoding", ""), max_answer_bytes)
                    await reading.take(response.aiter_stream())
                    got.append(_answer(response, bytes(reading.body), reading.problem))
        except CvpipeError:
            raise
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.ProxyError,
                httpcore.UnsupportedProtocol, OSError, ValueError) as error:  # fmt: skip
            said = _describe(error, timeout_seconds)
            if not got:
                raise OutsideUnavailable(said) from error
            # The status line came: a server that said yes and then broke off has taken what was sent.
            return got[-1] if len(got) > 1 else _answer_cut(got[0], said)
        return got[-1]

    def _pool(self, target: Target) -> httpcore.AsyncConnectionPool:
        proxy = self._rules.proxy
        tls = self._tls if target.scheme == "https" else None
        if proxy is None or (target.address is not None and self._rules.opens(target.address)):
            return httpcore.AsyncConnectionPool(
                ssl_context=tls, network_backend=CheckedBackend(self._rules, self._resolve, self._own)
            )
        parts = urlsplit(proxy)
        auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        return httpcore.AsyncHTTPProxy(
            proxy_url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", proxy_auth=auth, ssl_context=tls
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Checks certificates against certifi's list, or the file that SSL_CERT_FILE names."""
        import httpx  # slow to import, and most processes call nobody

        return httpx.create_ssl_context()


def _answer(response: httpcore.Response, body: bytes = b"", problem: str | None = None) -> Answer:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
    return Answer(response.status, reason, headers, body, problem)


def _answer_cut(answer: Answer, why: str) -> Answer:
    return Answer(answer.status, answer.reason, answer.headers, b"", why)


def _describe(error: Exception, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError | httpcore.TimeoutException):
        return f"no answer within {timeout_seconds:g} s"
    if isinstance(error, socket.gaierror):
        what: str = "can't look the name up"
    elif isinstance(error, httpcore.ConnectError | httpcore.ProxyError):
        what = "can't connect"
    elif isinstance(error, httpcore.NetworkError | httpcore.RemoteProtocolError):
        what = "connection lost"
    else:
        what = "can't send"
    text = " ".join(f"{what}: {error}".removesuffix(": ").split())
    return text if len(text) <= _MAX_ERROR_CHARACTERS else text[: _MAX_ERROR_CHARACTERS - 1] + "…"
