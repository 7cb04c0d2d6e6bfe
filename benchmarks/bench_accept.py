"""Jobs accepted per second, each on disk before its 202, beside the plain design: Flask, gunicorn and Celery.

All get the same POSTs from as many connections that are kept, sent by one process that does little else; they have a
Redis that syncs each write and a RabbitMQ, and nobody works on the jobs meanwhile. The plain design is in an
environment of its own, `.bench/plain`; cvpipe never uses it. Its tasks are confirmed by RabbitMQ before the answer, as
whoever is not to lose one must have it; a second row is without.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.clips import FOLDER
from benchmarks.other_environment import installer
from benchmarks.setup import print_table, spread
from benchmarks.stepped import redis_in
from tests.servers import RabbitMQServer, answers, free_port
from tests.video.clips import make_clip, x264

_CONNECTIONS = 32
_POSTS = 3000
_WARM = 200
_PACKAGES = ("flask", "gunicorn", "celery", "redis")
_PROCESSES = 2
_PLAIN = ("Flask, gunicorn, Celery", "the same, tasks unconfirmed")


def main(assets: Path, pairs: int) -> None:
    """One table: both designs in turns, and the ratio within each round."""
    python = _plain_python()
    if python is None:
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clip = make_clip(folder / "clip.mp4", frames=6, options=x264())
        broker = RabbitMQServer(folder)
        broker.start()
        try:
            with redis_in(folder / "redis") as store:
                ways: dict[str, Callable[[], float]] = {
                    _PLAIN[0]: lambda: _measured(
                        _plain(folder, python, store, broker.url, confirm="yes"), "/jobs", clip, store
                    ),
                    _PLAIN[1]: lambda: _measured(
                        _plain(folder, python, store, broker.url, confirm="no"), "/jobs", clip, store
                    ),
                    "cvpipe api": lambda: _measured(_ours(folder, store, broker.url, "1"), "/v1/jobs", clip, store),
                    f"cvpipe api --processes {_PROCESSES}": lambda: _measured(
                        _ours(folder, store, broker.url, str(_PROCESSES)), "/v1/jobs", clip, store
                    ),
                }
                rates: dict[str, list[float]] = {name: [] for name in ways}
                for _ in range(pairs):
                    for name, way in ways.items():
                        rates[name].append(way())
        finally:
            broker.close()
    rows = [
        (
            name,
            spread(values, "{:.0f}"),
            *(spread([a / b for a, b in zip(values, rates[plain], strict=True)], "{:.2f}") for plain in _PLAIN),
        )
        for name, values in rates.items()
    ]
    print_table(
        f"{_POSTS:,} jobs from {_CONNECTIONS} connections, {pairs} rounds",
        ("design", "accepted/s", "of the plain one", "of it, unconfirmed"),
        rows,
    )


def _measured(server: Iterator[int], path: str, clip: Path, store: str) -> float:
    body = json.dumps({"path": str(clip), "pipeline": "edges"}).encode()
    with contextmanager(lambda: server)() as port:
        _post(port, path, body, _WARM)
        seconds, ids = _post(port, path, body, _POSTS)
    assert len(ids) == _POSTS, f"{len(ids)} different jobs"
    with redis.Redis.from_url(store) as client:
        known = sum(1 for _ in client.scan_iter("*job:*", count=5000))
        assert known >= _POSTS, f"{known} of {_POSTS} jobs are in the store"
        client.flushall()
    return _POSTS / seconds


def _post(port: int, path: str, body: bytes, number: int) -> tuple[float, set[str]]:
    """POST so often over kept connections; seconds, and the ids of the answers. Raises: AssertionError."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    answers: list[bytes] = []
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(_CONNECTIONS, number))]
    with selectors.DefaultSelector() as waiting:
        came = dict.fromkeys(connections, b"")
        began = time.perf_counter()
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting.register(connection, selectors.EVENT_READ)
            connection.sendall(request)
        sent = len(connections)
        while len(answers) < number:
            for key, _ in waiting.select(timeout=60):
                connection: Any = key.fileobj
                part = connection.recv(65536)
                assert part, f"cut off behind {came[connection]!r}"
                came[connection] += part
                if (document := _document(came[connection])) is None:
                    continue
                answers.append(document)
                came[connection] = b""
                if sent < number:
                    connection.sendall(request)
                    sent += 1
        seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return seconds, {json.loads(document)["id"] for document in answers}


def _document(answer: bytes) -> bytes | None:
    """The body of a whole answer; None: there is more to come."""
    head, found, document = answer.partition(b"\r\n\r\n")
    if not found:
        return None
    assert head.startswith(b"HTTP/1.1 202"), answer.decode()
    size = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))[15:])
    return document if len(document) == size else None


def _ours(folder: Path, store: str, broker: str, processes: str) -> Iterator[int]:
    port = free_port()
    env = {
        **os.environ, "CVPIPE_REDIS_URL": store, "CVPIPE_BROKER_URL": broker, "CVPIPE_DATA_DIR": str(folder / "data"),
        "CVPIPE_PATH_ROOTS": str(folder), "CVPIPE_LOG_LEVEL": "warning",
    }  # fmt: skip
    yield from _served(
        [sys.executable, "-m", "cvpipe", "api", "--processes", processes, "--port", str(port)],
        env,
        port,
        folder / "api.log",
    )


def _plain(folder: Path, python: Path, store: str, broker: str, *, confirm: str) -> Iterator[int]:
    port = free_port()
    threads = str(_CONNECTIONS // _PROCESSES)
    env = {**os.environ, "STORE": store, "BROKER": broker, "THREADS": threads, "CONFIRM": confirm}
    command = [
        str(python), "-m", "gunicorn", "--workers", str(_PROCESSES), "--worker-class", "gthread", "--threads",
        threads, "--bind", f"127.0.0.1:{port}", "--log-level", "error",
        "other_plain_service:app",
    ]  # fmt: skip
    yield from _served(command, env, port, folder / "plain.log", cwd=Path(__file__).parent)


def _served(command: list[str], env: dict[str, str], port: int, log: Path, cwd: Path | None = None) -> Iterator[int]:
    with log.open("ab") as out:
        child = subprocess.Popen(command, env=env, stdout=out, stderr=out, cwd=cwd)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert child.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        yield port
    finally:
        child.terminate()
        child.wait(30)


def _plain_python() -> Path | None:
    python = FOLDER / "plain" / "bin" / "python"
    try:
        if not python.exists():
            print(f"installing {', '.join(_PACKAGES)} into {FOLDER.name}/plain, once", flush=True)
            _run(sys.executable, "-m", "venv", str(FOLDER / "plain"))
            _run(*installer(python), *_PACKAGES)
    except (OSError, subprocess.SubprocessError) as error:
        said: Any = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        print(f"no Flask, gunicorn and Celery to compare with: {said[-1][:200] if said else 'it failed'}")
        return None
    return python


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
