"""What is broken: API, sweeper and workers, as processes of this machine, with lines of their own to the servers.

Whatever ends is started again, as a container's runtime would; everything ends with the runner, also when that is
killed (`tests.servers.Server`).
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from cvpipe import Client
from cvpipe.store import Store
from tests.chaos.history import History
from tests.chaos.network import Line, Network
from tests.servers import RabbitMQServer, RedisServer, Server, free_port

LEASE_SECONDS = 4
_AGAIN_SECONDS = 0.3
_LOOK_SECONDS = 0.05
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # else each call reads all certificate authorities
_STARTABLE = (0, 3)  # what a process may say at its end by itself: asked to, or the store is away


class Member(Server):
    """A process of the deployment: `cvpipe WORDS`. redis, broker: its lines."""

    def __init__(self, name: str, folder: Path, words: tuple[str, ...], redis: Line, broker: Line) -> None:
        super().__init__(name, folder)
        self.words = words
        self.redis = redis
        self.broker = broker
        self.lock = threading.RLock()
        self.wanted = True
        self.frozen = False
        self.ended_at = 0.0

    def start(self, env: Mapping[str, str]) -> None:
        """Start it; it may take seconds until it does its work."""
        addresses = {
            "CVPIPE_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0",
            "CVPIPE_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{self.broker.port}/%2f",
        }
        with self.lock:
            self.frozen = False
            command = [sys.executable, "-m", "cvpipe", *self.words]
            self.spawn(command, {**env, **addresses}, lambda: True, seconds=10)

    def exit_code(self) -> int | None:
        """Of a process that has ended; None while it runs, or where there is none."""
        return None if self._child is None else self._child.poll()

    def kill_alone(self) -> None:
        """SIGKILL to the process alone: what it has started must end by itself."""
        with self.lock:
            if self.is_running:
                os.kill(self.pid, signal.SIGKILL)

    def decoders(self) -> list[int]:
        """Pids of its decoders: the fork-server, and what that has forked."""
        with self.lock:
            return descendants(self.pid) if self.is_running else []


class Cluster:
    """A whole deployment. settings: CVPIPE_... of all its processes, without the prefix."""

    def __init__(self, folder: Path, history: History, *, workers: int = 3, **settings: object) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        self.history = history
        self.network = Network()
        self.redis = RedisServer(_made(folder / "redis"))
        self.rabbitmq = RabbitMQServer(_made(folder / "rabbitmq"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        values: dict[str, object] = {
            "DATA_DIR": self.data,
            "PORT": self.port,
            "DEVICE": "cpu",
            "OUTSIDE_LOOPBACK": "true",
            "MIN_FREE_BYTES": 1 << 20,
            "LEASE_SECONDS": LEASE_SECONDS,
            "RING_AGAIN_SECONDS": 1,
            "SWEEP_SECONDS": 0.25,
            "DECODER_TIMEOUT_SECONDS": 15,
            "WEBHOOK_WAITS": " ".join(["2"] * 30),
            **settings,
        }
        outside = {name: value for name, value in os.environ.items() if not name.startswith("CVPIPE_")}
        self.env = {**outside, **{f"CVPIPE_{name}": str(value) for name, value in values.items()}}
        logs = _made(folder / "logs")
        self.api = self._member("api", logs, "api")
        self.sweeper = self._member("sweeper", logs, "sweep")
        self.workers = [self._member(f"worker-{n}", logs, "worker", "--threads", "1") for n in range(workers)]
        self.unexpected: list[str] = []
        self._keeping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def members(self) -> list[Member]:
        """All processes of the deployment, without the servers."""
        return [self.api, self.sweeper, *self.workers]

    def start(self) -> None:
        """Start everything and wait until the API is ready."""
        self.redis.start()
        self.rabbitmq.start()
        for member in self.members:
            member.start(self.env)
        self._keeper.start()
        self.await_ready()

    def await_ready(self, seconds: float = 60) -> None:
        """Wait until the API says that store and broker answer."""
        deadline = time.monotonic() + seconds
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the API is not ready after {seconds} s:\n{self.api.log[-3000:]}")
            time.sleep(0.1)

    @contextmanager
    def down(self, member: Member) -> Iterator[None]:
        """The member stays down in the block, whoever wants to start it."""
        member.wanted = False
        try:
            yield
        finally:
            member.wanted = True

    def client(self, timeout: float = 10) -> Client:
        """A client of this deployment."""
        return Client(self.url, timeout=timeout)

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store, looked at past all lines: for what the API does not tell."""
        store = Store.connect(self.redis.url)
        try:
            yield store
        finally:
            store.close()

    def close(self) -> None:
        """End everything that was started here."""
        self._keeping.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for member in self.members:
            with member.lock:
                member.kill()
        self.rabbitmq.close()
        self.redis.kill()
        self.network.close()

    def _member(self, name: str, logs: Path, *words: str) -> Member:
        return Member(name, logs, words, self.network.line(self.redis.port), self.network.line(self.rabbitmq.port))

    def _keep(self) -> None:
        while not self._keeping.wait(_LOOK_SECONDS):
            for member in self.members:
                with member.lock:
                    if not member.is_running:
                        self._start_again(member)

    def _start_again(self, member: Member) -> None:
        code = member.exit_code()
        now = time.monotonic()
        if code is not None and not member.ended_at:
            member.ended_at = now
            if code != -signal.SIGKILL:
                self.history.add(member.name, "ended", code=code)
                if code not in _STARTABLE:
                    self.unexpected.append(f"{member.name} ended by itself with {code}:\n{member.log[-2000:]}")
        if member.wanted and now - member.ended_at >= _AGAIN_SECONDS:
            member.ended_at = 0.0
            member.start(self.env)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, verify=_NO_TLS).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def descendants(pid: int) -> list[int]:
    """Pids of the living children of a process, and of theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [found for child in children for found in (child, *descendants(child))]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
