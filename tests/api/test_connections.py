"""Clients that hold a connection for nothing are cut off; slow ones that do what they can are not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
import uvicorn

from cvpipe.api.connections import Patience


class Quick(Patience):
    """With a part of a second where it is many. cuts: why clients were cut off."""

    head_seconds, body_seconds, read_seconds = 0.3, 0.3, 0.3
    cuts: ClassVar[list[str]] = []

    def _cut(self, why: str) -> None:
        self.cuts.append(why)
        super()._cut(why)


class Slower(Patience):
    """For clients that are not to be cut off, though the machine has more to do."""

    head_seconds, body_seconds, read_seconds = 2, 2, 2


async def app(scope, receive, send):
    """Reads a body and answers with its size, or with 50 MB."""
    size = 0
    while scope["path"] != "/early":
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"x" * 50_000_000 if scope["path"] == "/large" else str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(protocol: type[Patience]) -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=protocol, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(60)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(Quick) as address:
        yield address


@pytest.fixture(scope="module")
def slower() -> Iterator[tuple[str, int]]:
    with serving(Slower) as address:
        yield address


def send_slowly(address: tuple[str, int], *parts: bytes, every: float = 0.1) -> tuple[bytes, float]:
    """Send the parts one after another; returns what came back, and how long the connection was open."""
    with socket.create_connection(address, timeout=60) as connection:
        began = time.monotonic()
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(every)
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
        return answer, time.monotonic() - began


POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="no request"),
        pytest.param([b"GET / HT"], id="half a head"),
        pytest.param([b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 300], id="a head without end"),
        pytest.param([POST], id="no body"),
        pytest.param([POST, *[b"x"] * 300], id="a body a byte at a time"),
        pytest.param([POST.replace(b"/ ", b"/early "), *[b"x"] * 300], id="a body behind its answer"),
    ],
)
def test_a_client_that_is_too_slow_is_cut_off(address: tuple[str, int], parts: list[bytes]) -> None:
    answer, seconds = send_slowly(address, *parts)
    assert b" 200 " not in answer or parts[0].startswith(b"POST /early")
    assert seconds < 15  # all of it would take 30


def test_a_body_that_comes_fast_enough_may_take_its_time(slower: tuple[str, int]) -> None:
    parts = [b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000\r\n\r\n", *[b"x" * 1000] * 8]
    answer, seconds = send_slowly(slower, *parts, every=0.3)
    assert answer.endswith(b"8000")
    assert seconds > Slower.body_seconds


def test_one_connection_serves_requests_one_after_another(slower: tuple[str, int]) -> None:
    with socket.create_connection(slower, timeout=60) as connection:
        for _ in range(4):
            connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
            answer = b""
            while not answer.endswith(b"\r\n\r\n1"):
                answer += connection.recv(65536)
            time.sleep(Slower.head_seconds / 3.5)


def test_a_long_body_behind_its_answer_is_not_taken_for_a_head(slower: tuple[str, int]) -> None:
    """What was refused before all of it was there, a model with a wrong name: the next request is answered as ever."""
    size = 2 << 20
    with socket.create_connection(slower, timeout=60) as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        assert connection.recv(65536).endswith(b"\r\n\r\n0")
        connection.sendall(b"x" * size)
        time.sleep(0.1)
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n1")


def test_a_client_that_does_not_read_its_answer_is_cut_off(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        until = time.monotonic() + 60
        while "did not read its answer" not in Quick.cuts:
            assert time.monotonic() < until
            time.sleep(0.01)
        received = 0
        try:
            while part := connection.recv(1 << 20):
                received += len(part)
        except ConnectionError:
            pass
        assert 0 < received < 50_000_000


def test_a_client_that_reads_slowly_gets_all_of_its_answer(slower: tuple[str, int]) -> None:
    with socket.create_connection(slower, timeout=60) as connection:
        began = time.monotonic()
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        received = naps = 0
        while received < 50_000_000:
            part = connection.recv(1 << 20)
            assert part, received
            received += len(part)
            if received >> 20 > naps:
                naps += 1
                time.sleep(0.06)
        assert time.monotonic() - began > Slower.read_seconds


def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """What comes back, until the other side is done."""
    with socket.create_connection(address, timeout=60) as connection:
        answer = b""
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            pass
        return answer


def test_a_head_without_limit_is_refused(address: tuple[str, int]) -> None:
    answer = exchange(address, b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 3_000_000)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_an_address_may_be_as_long_as_the_head(slower: tuple[str, int]) -> None:
    request = b"GET /?" + b"q" * 900_000 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert exchange(slower, request).startswith(b"HTTP/1.1 200 ")


def test_empty_lines_are_no_request(address: tuple[str, int]) -> None:
    answer, seconds = send_slowly(address, *[b"\r\n"] * 300)
    assert answer == b""
    assert seconds < 15  # all of it would take 30


def test_a_request_that_offers_http_2_keeps_its_body(slower: tuple[str, int]) -> None:
    """As the client of Java's standard library sends it."""
    request = (
        b"POST / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
        b"http2-settings: AAEAAEAA\r\ncontent-length: 5\r\n\r\nhello"
    )
    with socket.create_connection(slower, timeout=60) as connection:
        for _ in range(2):  # and the connection goes on
            for part in (request[:60], request[60:-2], request[-2:]):
                connection.sendall(part)
                time.sleep(0.02)
            answer = b""
            while not answer.endswith(b"\r\n\r\n5"):
                part = connection.recv(65536)
                assert part, answer
                answer += part
