from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from pydantic import ValidationError

from cvpipe.errors import AddressRefused
from cvpipe.outside import Outside, Rules
from cvpipe.settings import Settings
from tests.receivers import Said, receiving

TEN = Rules(allowed=(ip_network("10.20.0.0/16"), ip_network("fd00:20::/32")))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8", "192.88.98.1"],
)
def test_public_addresses_are_called_also_where_they_lie_in_others(address: str) -> None:
    Rules().check(ip_address(address), 443)


@pytest.mark.parametrize("address", ["10.20.0.1", "10.20.255.255", "::ffff:10.20.0.1", "64:ff9b::a14:1", "fd00:20::7"])
def test_an_opened_network_is_called(address: str) -> None:
    TEN.check(ip_address(address), 80)


@pytest.mark.parametrize(
    "address", ["10.21.0.1", "10.19.255.255", "192.168.0.1", "fd00:21::7", "127.0.0.1", "169.254.1.1"]
)
def test_what_is_not_opened_is_not_called(address: str) -> None:
    with pytest.raises(AddressRefused):
        TEN.check(ip_address(address), 80)


def test_loopback_is_opened_by_itself_and_nothing_with_it() -> None:
    here = Rules(loopback=True)
    here.check(ip_address("127.0.0.1"), 80)
    here.check(ip_address("::1"), 80)
    for address in ("169.254.169.254", "10.0.0.1", "0.0.0.0"):
        with pytest.raises(AddressRefused):
            here.check(ip_address(address), 80)


def test_our_own_ports_are_never_called_by_whatever_name(redis_url: str) -> None:
    port = int(redis_url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    rules = Rules.of(Settings(redis_url=redis_url, port=8123, outside_loopback=True))
    for host, own in (("127.0.0.1", port), ("127.0.0.9", port), ("[::1]", port), ("localhost", 8123)):
        with pytest.raises(AddressRefused, match="cvpipe's own, which is never called"):
            Outside(rules).call("POST", f"http://{host}:{own}/", headers={}, timeout_seconds=60, max_answer_bytes=9)


def test_our_own_services_on_other_machines_are_never_called() -> None:
    names = {"broker.test": ["10.20.0.5"], "other.test": ["10.20.0.5"]}

    async def resolve(name: str, port: int) -> list[str]:
        return names.get(name, [])

    settings = Settings(broker_url="amqp://broker.test", outside_networks="10.20.0.0/16")
    with pytest.raises(AddressRefused, match="port 5672 there is cvpipe's own"):
        Outside(Rules.of(settings), resolve=resolve).call(
            "GET", "http://other.test:5672/", headers={}, timeout_seconds=60, max_answer_bytes=9
        )


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ("10.0.0.0/8 169.254.0.0/16", "169.254.0.0/16 is not within the private ranges"),
        ("127.0.0.0/8", "this machine itself is opened with CVPIPE_OUTSIDE_LOOPBACK"),
        ("0.0.0.0/0", "is not within the private ranges"),
        ("10.0.0.1/8", "has host bits set"),
        ("intranet", "wanted networks such as 10.20.0.0/16"),
    ],
)
def test_an_operator_can_open_private_networks_only(networks: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(outside_networks=networks)


def test_a_configured_proxy_gets_the_calls_but_those_to_what_was_opened() -> None:
    with receiving(lambda _: Said(204)) as receiver, receiving(lambda _: Said(202)) as proxy:
        way = Outside(Rules(loopback=True, proxy=f"http://me:secret@127.0.0.1:{proxy.port}"))
        far = way.call("GET", "http://receiver.test/a?b=1", headers={}, timeout_seconds=60, max_answer_bytes=9)
        near = way.call("GET", receiver.url, headers={}, timeout_seconds=60, max_answer_bytes=9)
        assert (far.status, near.status) == (202, 204)
        assert [request.path for request in proxy.asked] == ["http://receiver.test/a?b=1"]
        assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


def test_behind_a_proxy_too_this_machine_is_not_called_by_its_name() -> None:
    with receiving(lambda _: Said(202)) as proxy:
        way = Outside(Rules(proxy=proxy.url))
        for url in ("http://localhost/", "http://127.0.0.1/", "http://10.0.0.1/", "http://metadata.google.internal/"):
            with pytest.raises(AddressRefused):
                way.call("GET", url, headers={}, timeout_seconds=60, max_answer_bytes=9)
        assert proxy.asked == []
