"""Lines carry, delay, cut and lose, as they are told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.network import FAIR, Line, Network, Weather
from tests.video.reading import eventually


@pytest.fixture
def echo() -> Iterator[tuple[int, list[bytes]]]:
    """A server that says back what it hears: its port, and what it has heard."""
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while block := connection.recv(1024):
                    heard.append(block)
                    connection.sendall(block)
            except OSError:  # reset, as some tests want
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listening.getsockname()[1], heard
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(60)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def dial(line: Line) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=60)


def test_a_line_carries_both_ways(network: Network, echo: tuple[int, list[bytes]]) -> None:
    with dial(network.line(echo[0])) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"


def test_a_cut_line_resets_what_is_open_and_what_comes(network: Network, echo: tuple[int, list[bytes]]) -> None:
    line = network.line(echo[0])
    with dial(line) as connection:
        connection.sendall(b"a")
        assert connection.recv(100) == b"a"
        network.set(line, Weather(cut=True))
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    with dial(line) as connection, pytest.raises(OSError, match="reset"):
        connection.sendall(b"b")
        if not connection.recv(100):
            raise ConnectionResetError("reset by an end")
    network.set(line, FAIR)
    with dial(line) as connection:
        connection.sendall(b"c")
        assert connection.recv(100) == b"c"
    assert echo[1] == [b"a", b"c"]


def test_answers_get_lost_although_what_was_asked_arrives(network: Network, echo: tuple[int, list[bytes]]) -> None:
    line = network.line(echo[0])
    with dial(line) as connection:
        connection.settimeout(0.3)
        network.set(line, Weather(lost=frozenset({"answers"})))
        connection.sendall(b"a")
        with pytest.raises(TimeoutError):
            connection.recv(100)
        assert eventually(lambda: echo[1] == [b"a"])
        network.set(line, FAIR)  # half a message must not be followed by another
        connection.settimeout(60)
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


def test_requests_get_lost_and_nobody_is_told(network: Network, echo: tuple[int, list[bytes]]) -> None:
    line = network.line(echo[0])
    network.set(line, Weather(lost=frozenset({"requests", "answers"})))
    with dial(line) as connection:
        connection.settimeout(0.3)
        connection.sendall(b"a")
        with pytest.raises(TimeoutError):
            connection.recv(100)
    assert echo[1] == []


def test_a_slow_line_is_slow_both_ways(network: Network, echo: tuple[int, list[bytes]]) -> None:
    line = network.line(echo[0])
    network.set(line, Weather(delay_seconds=0.1))
    with dial(line) as connection:
        began = time.monotonic()
        connection.sendall(b"a")
        assert connection.recv(100) == b"a"
        assert time.monotonic() - began >= 0.2


def test_a_line_to_a_server_that_is_down_is_down(network: Network) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody else can listen there
        line = network.line(silent.getsockname()[1])
        with dial(line) as connection, pytest.raises(OSError, match="reset"):
            if not connection.recv(100):
                raise ConnectionResetError("reset by an end")
