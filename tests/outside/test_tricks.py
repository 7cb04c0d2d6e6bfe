"""Tricks to have the service call what it must not. What counts is that no connection is begun."""

from __future__ import annotations

import pytest

from cvpipe.errors import AddressRefused, OutsideUnavailable
from cvpipe.outside import Outside, Rules
from tests.outside.connections import watched
from tests.receivers import Said, receiving

LITERALS = {
    "loopback": "http://127.0.0.1/",
    "the end of loopback": "http://127.255.255.254/",
    "a short form": "http://127.1/",
    "one number": "http://2130706433/",
    "one hexadecimal number": "http://0x7f000001/",
    "hexadecimal parts": "http://0x7f.0.0.1/",
    "octal parts": "http://0177.0.0.1/",
    "leading zeros": "http://127.0.0.01/",
    "a dot at the end": "http://127.0.0.1./",
    "too large a part": "http://127.0.0.257/",
    "nothing but zero": "http://0/",
    "any address": "http://0.0.0.0/",
    "IPv6 loopback": "http://[::1]/",
    "any IPv6 address": "http://[::]/",
    "mapped": "http://[::ffff:127.0.0.1]/",
    "mapped, in hexadecimal": "http://[::ffff:a9fe:a9fe]/",
    "compatible": "http://[::127.0.0.1]/",
    "translated": "http://[::ffff:0:10.0.0.1]/",
    "NAT64 to loopback": "http://[64:ff9b::7f00:1]/",
    "NAT64 to metadata": "http://[64:ff9b::169.254.169.254]/",
    "a network's own NAT64": "http://[64:ff9b:1::7f00:1]/",
    "6to4 to loopback": "http://[2002:7f00:1::]/",
    "6to4 to metadata": "http://[2002:a9fe:a9fe::1]/",
    "Teredo, its client on loopback": "http://[2001:0:808:808::80ff:fffe]/",
    "Teredo, its server private": "http://[2001:0:a00:1::f7f7:f7f7]/",
    "ISATAP": "http://[2a00:1450::5efe:10.0.0.1]/",
    "link-local": "http://[fe80::1]/",
    "link-local with a zone": "http://[fe80::1%25eth0]/",
    "site-local": "http://[fec0::1]/",
    "unique local": "http://[fd12:3456::1]/",
    "unassigned": "http://[4000::1]/",
    "multicast": "http://[ff02::1]/",
    "examples": "http://[2001:db8::1]/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata of containers": "http://169.254.170.2/v2/credentials",
    "metadata of AWS": "http://[fd00:ec2::254]/",
    "metadata of Google": "http://[fd20:ce::254]/",
    "metadata of Azure": "http://168.63.129.16/",
    "metadata of Alibaba": "http://100.100.100.200/",
    "metadata of Oracle": "http://192.0.0.192/",
    "private, ten": "http://10.0.0.1/",
    "private, 172": "http://172.31.255.255/",
    "private, 192": "http://192.168.1.1/",
    "shared by carriers": "http://100.64.0.1/",
    "benchmarks": "http://198.18.0.1/",
    "IPv4 multicast": "http://224.0.0.251/",
    "broadcast": "http://255.255.255.255/",
    "reserved": "http://240.0.0.1/",
    "behind a user name": "http://example.com@127.0.0.1/",
    "behind a user name and a port": "http://example.com:80@127.0.0.1:80/",
    "before a fragment": "http://127.0.0.1#@example.com/",
    "before a backslash": "http://127.0.0.1\\@example.com/",
    "behind a backslash": "http://example.com\\@127.0.0.1/",
    "one slash": "http:/127.0.0.1/",
    "no scheme": "//127.0.0.1/",
    "three slashes": "http:///127.0.0.1/",
    "circled digits": "http://①②⑦.⓪.⓪.①/",
    "ideographic full stops": "http://127。0。0。1/",
    "percent signs": "http://%31%32%37.0.0.1/",
    "a line break": "http://example.com/\r\nhost: 127.0.0.1",
    "a tab": "http://127.0.0\t.1/",
    "a space before": " http://127.0.0.1/",
    "port 0": "http://127.0.0.1:0/",
    "a port too high": "http://example.com:65616/",
    "two ports": "http://example.com:80:80/",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "localhost": "http://LocalHost/",
    "below localhost": "http://a.localhost/",
    "metadata by name": "http://metadata.google.internal/",
}

NAMES = {
    "loopback": ["127.0.0.1"],
    "public first, then loopback": ["8.8.8.8", "127.0.0.1"],
    "public first, then metadata": ["8.8.8.8", "2001:4860:4860::8888", "169.254.169.254"],
    "mapped": ["::ffff:10.0.0.1"],
    "NAT64": ["64:ff9b::a00:1"],
    "a zone": ["fe80::1%eth0"],
    "private": ["192.168.0.1"],
    "nowhere": [],
    "no address": ["localhost"],
}


def test_there_are_sixty_tricks_and_more() -> None:
    assert len(LITERALS) + len(NAMES) >= 60


@pytest.mark.parametrize("url", [pytest.param(url, id=name) for name, url in LITERALS.items()])
def test_no_trick_with_an_address_begins_a_connection(url: str) -> None:
    outside = Outside(Rules(), resolve=_never_asked)
    with watched() as connections, pytest.raises(AddressRefused):
        outside.call("GET", url, headers={}, timeout_seconds=60, max_answer_bytes=10)
    assert connections == []


@pytest.mark.parametrize("addresses", [pytest.param(found, id=name) for name, found in NAMES.items()])
def test_no_trick_with_a_name_begins_a_connection(addresses: list[str]) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return addresses

    outside = Outside(Rules(), resolve=resolve)
    wanted = OutsideUnavailable if addresses in ([], ["localhost"]) else AddressRefused
    with watched() as connections, pytest.raises(wanted):
        outside.call("GET", "http://receiver.test/", headers={}, timeout_seconds=60, max_answer_bytes=10)
    assert connections == []


async def _never_asked(name: str, port: int) -> list[str]:
    raise AssertionError(f"{name} was looked up")


def test_a_name_is_looked_up_once_so_that_it_can_not_change_between_check_and_connection() -> None:
    asked = []

    async def rebinding(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with receiving(lambda _: Said(204)) as receiver:
        outside = Outside(Rules(loopback=True), resolve=rebinding)
        url = f"http://receiver.test:{receiver.port}/"
        with watched() as connections:
            assert outside.call("GET", url, headers={}, timeout_seconds=60, max_answer_bytes=10).status == 204
            assert asked == ["receiver.test"]
            with pytest.raises(AddressRefused, match="receiver.test leads to a link-local address"):
                outside.call("GET", url, headers={}, timeout_seconds=60, max_answer_bytes=10)
        assert connections == [f"127.0.0.1 {receiver.port}"]
        assert [request.headers["host"] for request in receiver.asked] == [f"receiver.test:{receiver.port}"]


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with receiving(lambda _: Said(200)) as inner:
        with receiving(lambda _: Said(302, headers={"location": inner.url})) as receiver, watched() as connections:
            answer = Outside(Rules(loopback=True)).call(
                "GET", receiver.url, headers={}, timeout_seconds=60, max_answer_bytes=10
            )
        assert (answer.status, inner.asked) == (302, [])
        assert connections == [f"127.0.0.1 {receiver.port}"]


def test_the_address_a_name_leads_to_is_not_told() -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return ["10.1.2.3"]

    with pytest.raises(AddressRefused) as refused:
        Outside(Rules(), resolve=resolve).call(
            "GET", "http://db.corp.test/", headers={}, timeout_seconds=60, max_answer_bytes=10
        )
    assert "10.1.2.3" not in str(refused.value)
    assert str(refused.value).startswith("db.corp.test leads to a private address; the operator opens networks with")


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(lambda _: Said(200)) as proxy, receiving(lambda _: Said(204)) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        answer = Outside(Rules(loopback=True)).call(
            "GET", receiver.url, headers={}, timeout_seconds=60, max_answer_bytes=10
        )
        assert (answer.status, proxy.asked) == (204, [])


def test_where_nobody_listens_is_told_as_such() -> None:
    with receiving(lambda _: Said()) as gone:
        pass
    with pytest.raises(OutsideUnavailable, match="can't connect"):
        Outside(Rules(loopback=True)).call("GET", gone.url, headers={}, timeout_seconds=60, max_answer_bytes=10)
