from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from cvpipe.errors import OutsideUnavailable
from cvpipe.outside import Answer, Outside, Rules
from tests.receivers import Asked, Said, receiving

HERE = Outside(Rules(loopback=True))


def asked(url: str, *, limit: int = 1000, seconds: float = 5, method: str = "GET", **more: Any) -> Answer:
    sent = {"headers": {}, **more}
    return HERE.call(method, url, timeout_seconds=seconds, max_answer_bytes=limit, **sent)


def test_a_call_carries_what_it_was_given_and_brings_the_answer() -> None:
    with receiving(lambda request: Said(201, request.body[::-1], {"x-one": "1"})) as receiver:
        answer = asked(f"{receiver.url}/a%20b?c=d", method="POST", headers={"x-two": "zwei"}, body=b"abc")
    assert (answer.status, answer.reason, answer.body, answer.problem) == (201, "Created", b"cba", None)
    assert answer.headers["x-one"] == "1"
    request = receiver.asked[0]
    assert (request.method, request.path, request.body) == ("POST", "/a%20b?c=d", b"abc")
    assert request.headers["x-two"] == "zwei"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"hello", mtime=0)), ("deflate", zlib.compress(b"hello")), ("identity", b"hello")],
)
def test_a_packed_answer_is_unpacked(encoding: str, packed: bytes) -> None:
    with receiving(lambda _: Said(200, packed, {"content-encoding": encoding})) as receiver:
        assert asked(receiver.url).body == b"hello"


def test_nothing_is_unpacked_past_the_limit() -> None:
    bomb = gzip.compress(bytes(64 * 2**20), 9)  # 64 MiB in 64 KiB
    with receiving(lambda _: Said(200, bomb, {"content-encoding": "gzip"})) as receiver:
        answer = asked(receiver.url, limit=100_000)
    assert answer.problem == "the answer has more than 100000 bytes"
    assert len(answer.body) == 100_000


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Said(200, b"x" * 1001), "the answer has more than 1000 bytes"),
        (Said(200, b"x", {"content-encoding": "br"}), "the answer is packed as 'br', which was not asked for"),
        (Said(200, b"xyz" * 9, {"content-encoding": "gzip"}), "the answer's body is not packed as it says"),
        (
            Said(200, gzip.compress(b"hello", mtime=0)[:-9], {"content-encoding": "gzip"}),
            "the answer's packed body broke off",
        ),
    ],
    ids=["too long", "another packing", "not packed", "cut off"],
)
def test_what_is_wrong_with_a_body_is_told_beside_the_status(said: Said, problem: str) -> None:
    with receiving(lambda _: said) as receiver:
        answer = asked(receiver.url)
    assert (answer.status, answer.problem) == (200, problem)


def test_an_answer_of_exactly_the_limit_is_whole() -> None:
    with receiving(lambda _: Said(200, b"x" * 1000)) as receiver:
        answer = asked(receiver.url)
    assert (len(answer.body), answer.problem) == (1000, None)


def test_the_time_is_for_the_whole_call_however_slowly_bytes_come() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                for _ in range(300):
                    connection.sendall(b"H")
                    time.sleep(0.1)
            except OSError:
                pass  # the caller had enough

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with listener, pytest.raises(OutsideUnavailable, match=r"no answer within 0\.4 s"):
        asked(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.4)
    assert time.monotonic() - began < 15  # all of it would take 30
    thread.join(60)


def test_tls_checks_the_name_although_the_connection_goes_to_an_address(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = root / "tests/outside/receiver.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)

    async def resolve(name: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    outside = Outside(Rules(loopback=True), resolve=resolve)
    with receiving(lambda _: Said(204), tls=server) as receiver:
        names: list[str | None] = []
        server.sni_callback = lambda _socket, name, _context: names.append(name)
        good = outside.call(
            "GET", f"https://receiver.test:{receiver.port}/", headers={}, timeout_seconds=60, max_answer_bytes=9
        )
        assert (good.status, names) == (204, ["receiver.test"])
        with pytest.raises(OutsideUnavailable, match="certificate"):
            outside.call(
                "GET", f"https://other.test:{receiver.port}/", headers={}, timeout_seconds=60, max_answer_bytes=9
            )
        assert len(receiver.asked) == 1


def test_a_header_can_not_smuggle_another() -> None:
    def never(_: Asked) -> Said:
        raise AssertionError("it was sent")

    with receiving(never) as receiver:
        with pytest.raises(OutsideUnavailable, match="can't send"):
            asked(receiver.url, headers={"x-one": "1\r\nx-two: 2"})
        assert receiver.asked == []
