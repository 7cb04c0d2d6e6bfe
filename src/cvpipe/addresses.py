"""Ranges of addresses: which are public, private, this machine, or nobody's to call.

A table of our own, because what `ipaddress` calls private differs between versions of Python. Sources: the IANA
special-purpose address registries (IPv4 and IPv6), and the metadata addresses that cloud providers document.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Literal, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Place(NamedTuple):
    """What kind of address it is, and the word for it. `refused` ones are never called."""

    kind: Literal["public", "private", "loopback", "refused"]
    word: str


def _table(rows: dict[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(network), word) for network, word in rows.items())


_REFUSED: Final = _table(
    {
        "0.0.0.0/8": "an address of this network",
        "100.100.100.200/32": "a metadata address",  # Alibaba Cloud, inside what carriers share
        "168.63.129.16/32": "a metadata address",  # Azure
        "169.254.0.0/16": "a link-local address",  # with nearly all clouds' metadata
        "192.0.0.0/24": "a reserved address",  # with Oracle Cloud's metadata
        "192.0.2.0/24": "an address for examples",
        "192.88.99.0/24": "a reserved address",
        "198.18.0.0/15": "an address for benchmarks",
        "198.51.100.0/24": "an address for examples",
        "203.0.113.0/24": "an address for examples",
        "224.0.0.0/4": "a multicast address",
        "240.0.0.0/4": "a reserved address",
        "::/128": "an address of this network",
        "64:ff9b:1::/48": "a translated address",  # the IPv4 address lies where the network's owner chose
        "100::/64": "an address that leads nowhere",
        "2001:2::/48": "an address for benchmarks",
        "2001:10::/28": "a reserved address",
        "2001:20::/28": "a reserved address",
        "2001:db8::/32": "an address for examples",
        "3fff::/20": "an address for examples",
        "5f00::/16": "a reserved address",
        "fd00:ec2::254/128": "a metadata address",  # AWS
        "fd20:ce::254/128": "a metadata address",  # Google Cloud
        "fe80::/10": "a link-local address",
        "fec0::/10": "a site-local address",
        "ff00::/8": "a multicast address",
    }
)
_LOOPBACK: Final = _table({"127.0.0.0/8": "a loopback address", "::1/128": "a loopback address"})
_PRIVATE: Final = _table(
    {
        "10.0.0.0/8": "a private address",
        "100.64.0.0/10": "a private address",
        "172.16.0.0/12": "a private address",
        "192.168.0.0/16": "a private address",
        "fc00::/7": "a private address",
    }
)
_GLOBAL: Final = IPv6Network("2000::/3")
# An IPv4 address is in their last 32 bits.
_CARRIERS: Final = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
PRIVATE: Final = tuple(network for network, _ in _PRIVATE)
"""What an operator may open, or parts of it."""
_WORST_FIRST: Final = ("refused", "loopback", "private", "public")


def place_of(address: Address) -> Place:
    """What kind of address it is. One that carries others is as good as the worst of them."""
    places = [_plain(address), *(_plain(inner) for inner in carried(address))]
    return min(places, key=lambda place: _WORST_FIRST.index(place.kind))


def carried(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that lie in an IPv6 address: mapped, NAT64, 6to4, Teredo (server and client), ISATAP."""
    if isinstance(address, IPv4Address):
        return ()
    bits = int(address)
    last = IPv4Address(bits & 0xFFFFFFFF)
    if any(address in carrier for carrier in _CARRIERS):
        return () if bits < 2 else (last,)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(bits >> 80 & 0xFFFFFFFF),)
    if address in _TEREDO:
        return IPv4Address(bits >> 64 & 0xFFFFFFFF), IPv4Address(bits & 0xFFFFFFFF ^ 0xFFFFFFFF)
    return (last,) if bits >> 32 & 0xFFFFFFFF in _ISATAP else ()


def is_private(network: Network) -> bool:
    """Whether all of a network lies in one of the private ranges: what an operator may open."""
    return any(network.version == known.version and network.subnet_of(known) for known, _ in _PRIVATE)  # type: ignore[arg-type]


def _plain(address: Address) -> Place:
    """The kind of an address by itself, whatever it carries."""
    kinds: tuple[tuple[Literal["refused", "loopback", "private"], tuple[tuple[Network, str], ...]], ...] = (
        ("refused", _REFUSED),
        ("loopback", _LOOPBACK),
        ("private", _PRIVATE),
    )
    for kind, table in kinds:
        for network, word in table:
            if address in network:
                return Place(kind, word)
    if isinstance(address, IPv6Address) and address not in _GLOBAL and not carried(address):
        return Place("refused", "an address that nobody has")
    return Place("public", "a public address")
