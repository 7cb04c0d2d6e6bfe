"""Connecting: a name is looked up once, all it leads to is checked, and the connection goes to what was checked."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any

import httpcore

from cvpipe.addresses import Address
from cvpipe.outside.rules import Rules

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Looks up a name, for a port: the addresses it leads to, as text."""

_OWN_SECONDS = 60.0
_MAX_ADDRESSES = 4


async def system_resolve(name: str, port: int) -> list[str]:
    """What the operating system says. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Own:
    """Where our own services are, looked up now and then."""

    def __init__(self, rules: Rules, resolve: Resolve) -> None:
        self._rules, self._resolve = rules, resolve
        self._known: frozenset[tuple[Address, int]] = frozenset()
        self._until = 0.0

    async def places(self) -> frozenset[tuple[Address, int]]:
        """Addresses and ports. One whose name can't be looked up now is left out: it can't be called either."""
        if time.monotonic() >= self._until:
            found = set()
            for host, port in self._rules.own:
                try:
                    found |= {(ip_address(address), port) for address in await self._resolve(host, port)}
                except (OSError, ValueError):
                    continue
            self._known, self._until = frozenset(found), time.monotonic() + _OWN_SECONDS
        return self._known


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the rules allow, and to no others."""

    def __init__(self, rules: Rules, resolve: Resolve, own: Own) -> None:
        self._rules, self._resolve, self._own = rules, resolve, own
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to `host`. TLS, if any, checks the name later: it is httpcore that knows it.

        Raises: AddressRefused where any of its addresses may not be called: a name that leads both out and in is a
        trick. OSError, httpcore's errors.
        """
        addresses = await self._checked(host, port)
        for at, address in enumerate(addresses):
            try:
                return await self._plain.connect_tcp(
                    str(address),
                    port,
                    timeout=None if timeout is None else timeout / len(addresses),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if at + 1 == len(addresses):
                    raise
        raise OSError(f"{host} has no address")

    async def _checked(self, host: str, port: int) -> list[Address]:
        own = await self._own.places()
        try:
            addresses: list[Address] = [ip_address(host)]
            name = ""
        except ValueError:
            addresses = [ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
            name = host
        for address in addresses:
            self._rules.check(address, port, own=own, name=name)
        return addresses[:_MAX_ADDRESSES]
