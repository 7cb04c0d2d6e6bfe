"""Jobs accepted per second, each on disk before its 202, beside the plain design: Flask, gunicorn and Celery.

Both get the same POSTs from as many connections, have a Redis that syncs each write and a RabbitMQ, and nobody works
on the jobs meanwhile. The plain design is in an environment of its own, `.bench/plain`; cvpipe never uses it.
"""

from __future__ import annotations

import asyncio
import json
import os
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
                    "Flask, gunicorn, Celery": lambda: _measured(
                        _plain(folder, python, store, broker.url), "/jobs", clip, store
                    ),
                    "cvpipe api": lambda: _measured(_ours(folder, store, broker.url), "/v1/jobs", clip, store),
                }
                rates: dict[str, list[float]] = {name: [] for name in ways}
                for _ in range(pairs):
                    for name, way in ways.items():
                        rates[name].append(way())
        finally:
            broker.close()
    plain = rates["Flask, gunicorn, Celery"]
    rows = [
        (name, spread(values, "{:.0f}"), spread([a / b for a, b in zip(values, plain, strict=True)], "{:.2f}"))
        for name, values in rates.items()
    ]
    print_table(
        f"{_POSTS:,} jobs from {_CONNECTIONS} connections, {pairs} rounds",
        ("design", "accepted/s", "of the plain one"),
        rows,
    )


def _measured(server: Iterator[int], path: str, clip: Path, store: str) -> float:
    body = json.dumps({"path": str(clip), "pipeline": "edges"}).encode()
    with contextmanager(lambda: server)() as port:
        asyncio.run(_post(port, path, body, _WARM))
        seconds, ids = asyncio.run(_post(port, path, body, _POSTS))
    assert len(ids) == _POSTS, f"{len(ids)} different jobs"
    with redis.Redis.from_url(store) as client:
        known = sum(1 for _ in client.scan_iter("*job:*", count=5000))
        assert known >= _POSTS, f"{known} of {_POSTS} jobs are in the store"
        client.flushall()
    return _POSTS / seconds


async def _post(port: int, path: str, body: bytes, number: int) -> tuple[float, set[str]]:
    """POST so often over kept connections; seconds, and the ids of the answers. Raises: AssertionError."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    left = iter(range(number))
    ids: set[str] = set()

    async def one_after_another() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            status, *fields = answer.decode().split("\r\n")
            size = next(int(field[15:]) for field in fields if field.lower().startswith("content-length:"))
            document = await reader.readexactly(size)
            assert status.split()[1] == "202", document.decode()
            ids.add(json.loads(document)["id"])
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(_CONNECTIONS)))
    return time.perf_counter() - began, ids


def _ours(folder: Path, store: str, broker: str) -> Iterator[int]:
    port = free_port()
    env = {
        **os.environ, "CVPIPE_REDIS_URL": store, "CVPIPE_BROKER_URL": broker, "CVPIPE_DATA_DIR": str(folder / "data"),
        "CVPIPE_PATH_ROOTS": str(folder), "CVPIPE_LOG_LEVEL": "warning",
    }  # fmt: skip
    yield from _served([sys.executable, "-m", "cvpipe", "api", "--port", str(port)], env, port, folder / "api.log")


def _plain(folder: Path, python: Path, store: str, broker: str) -> Iterator[int]:
    port = free_port()
    env = {**os.environ, "STORE": store, "BROKER": broker}
    command = [
        str(python), "-m", "gunicorn", "--workers", str(_PROCESSES), "--worker-class", "gthread", "--threads",
        str(_CONNECTIONS // _PROCESSES), "--bind", f"127.0.0.1:{port}", "--log-level", "error",
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
