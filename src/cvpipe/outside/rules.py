"""Rules: which addresses an operator lets jobs call, beside the public ones."""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cvpipe.addresses import PRIVATE, Address, Network, carried, place_of
from cvpipe.errors import AddressRefused

if TYPE_CHECKING:
    from cvpipe.settings import Settings

_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be called.

    allowed: networks within the private ranges. loopback: whether this machine itself. own: host and port of what
    cvpipe is made of (API, store, broker), never called. proxy: through which all but opened addresses are called.
    """

    allowed: tuple[Network, ...] = ()
    loopback: bool = False
    own: tuple[tuple[str, int], ...] = ()
    proxy: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules that an operator has set."""
        own = [(settings.host, settings.port)]
        for url in (settings.redis_url, settings.broker_url):
            parts = urlsplit(url or "")
            if parts.hostname:
                own.append((parts.hostname, parts.port or _PORTS[parts.scheme]))
        return cls(
            allowed=tuple(ip_network(network) for network in settings.outside_networks.split()),
            loopback=settings.outside_loopback,
            own=tuple(own),
            proxy=settings.outside_proxy,
        )

    @classmethod
    def opened(cls) -> Rules:
        """The rules of an operator who has opened all that can be opened."""
        return cls(allowed=PRIVATE, loopback=True)

    def check(self, address: Address, port: int, *, own: Collection[tuple[Address, int]] = (), name: str = "") -> None:
        """See whether an address may be called.

        own: where our own services are, beside the ports of `own` on this machine. name: what led to the address; it is
        told instead of the address, because what a name means inside of a network is nobody's business outside.
        Raises: AddressRefused.
        """
        place = place_of(address)
        told = f"{name} leads to" if name else f"{address} is"
        addresses = {address, *carried(address)}
        if place.kind == "refused":
            raise AddressRefused(f"{told} {place.word}, which is never called")
        if place.kind == "loopback" and not self.loopback:
            raise AddressRefused(f"{told} {place.word}; the operator opens these with CVPIPE_OUTSIDE_LOOPBACK=true")
        if place.kind == "private" and not any(self._is_allowed(a) for a in addresses):
            raise AddressRefused(f"{told} {place.word}; the operator opens networks with CVPIPE_OUTSIDE_NETWORKS")
        ours = port in {known for _, known in self.own} and any(map(_is_here, addresses))
        if ours or any((a, port) in own for a in addresses):
            raise AddressRefused(f"port {port} there is cvpipe's own, which is never called")

    def opens(self, address: Address) -> bool:
        """Whether an address that isn't public may be called: no proxy would know the way."""
        kind = place_of(address).kind
        return (kind == "loopback" and self.loopback) or (kind == "private" and self._is_allowed(address))

    def _is_allowed(self, address: Address) -> bool:
        return place_of(address).kind == "private" and any(address in network for network in self.allowed)


def _is_here(address: Address) -> bool:
    """Whether an address is one of this machine's: nothing else can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
