"""Targets: where a call goes, read from an address as strictly as can be.

What parsers differ about (backslashes, user names, `0x7f.1`, percent signs in names, zones) is refused and not guessed
at, so that what is checked is what is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cvpipe.errors import AddressRefused

MAX_CHARACTERS: Final = 2048
"""Longest address."""

_PORTS: Final = {"http": 80, "https": 443}
_ADDRESS: Final = re.compile(r"(?P<scheme>[a-z]+)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OCTET: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_NOT_IN_ADDRESSES: Final = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]|%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes.

    host: in lower case, IPv6 without brackets. address: where the host is one, and no name.
    path: what is asked for there, with its query; begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IPv4Address | IPv6Address | None

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises: AddressRefused, saying what is wrong with the address."""
        if len(url) > MAX_CHARACTERS:
            raise AddressRefused(f"an address has at most {MAX_CHARACTERS} characters, this one has {len(url)}")
        if (odd := _NOT_IN_ADDRESSES.search(url)) is not None:
            raise AddressRefused(
                f"an address has no {odd[0]!r}; write names of other scripts as `xn--...`, other characters as `%20`"
            )
        found = _ADDRESS.fullmatch(url)
        if found is None:
            raise AddressRefused("wanted an address such as https://example.com/path, without a `#`")
        scheme = found["scheme"].lower()
        if scheme not in _PORTS:
            raise AddressRefused(f"only http and https, not {scheme}")
        if "@" in found["authority"]:
            raise AddressRefused("an address has no user name; send it in a header")
        parts = _HOST_AND_PORT.fullmatch(found["authority"])
        if parts is None:
            raise AddressRefused("wanted a name, an IPv4 address or [an IPv6 address], and maybe a port, behind `://`")
        port = int(parts["port"]) if parts["port"] else _PORTS[scheme]
        if not 1 <= port <= 65535:
            raise AddressRefused(f"a port is a number from 1 to 65535, not {port}")
        host = (parts["six"] or parts["name"]).lower()
        address = _ipv6(host) if parts["six"] else _ipv4_or_name(host)
        path = found["rest"] if found["rest"].startswith("/") else f"/{found['rest']}"
        return cls(scheme, host, port, path, address)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what is one server."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.given_port is None else f"{host}:{self.port}"

    @property
    def given_port(self) -> int | None:
        """The port; None where it is the scheme's own."""
        return None if self.port == _PORTS[self.scheme] else self.port


def _ipv6(host: str) -> IPv6Address:
    try:
        return IPv6Address(host)
    except ValueError:
        raise AddressRefused(f"[{host}] is no IPv6 address") from None


def _ipv4_or_name(host: str) -> IPv4Address | None:
    """None for a name. What ends in a number is an IPv4 address, in its one plain form, or nothing."""
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if len(labels) != 4 or not all(_OCTET.fullmatch(label) and int(label) <= 255 for label in labels):
            raise AddressRefused(f"{host} is no name, and an IPv4 address is four numbers, such as 192.0.2.1")
        return IPv4Address(host)
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise AddressRefused(f"{host[:60]} is not a name that can be looked up")
    return None
