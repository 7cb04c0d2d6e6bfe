"""What compose.yaml starts, as processes of this machine: API, workers, sweeper on real RabbitMQ and Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from cvpipe import Client
from tests.servers import free_port

LEASE_SECONDS = 3


class Deployment:
    """Starts the service's processes with one environment; ends those it started."""

    def __init__(self, folder: Path, *, redis_url: str, broker_url: str | None, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        values: dict[str, object] = {
            "DATA_DIR": folder / "data",
            "REDIS_URL": redis_url,
            "LEASE_SECONDS": LEASE_SECONDS,
            "RING_AGAIN_SECONDS": 1,
            "SWEEP_SECONDS": 0.25,
            "PORT": self.port,
            "OUTSIDE_LOOPBACK": True,
            **({"BROKER_URL": broker_url} if broker_url else {}),
            **settings,
        }
        outside = {name: value for name, value in os.environ.items() if not name.startswith("CVPIPE_")}
        self.env = {**outside, **{f"CVPIPE_{name}": str(value) for name, value in values.items()}}
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start `cvpipe WORDS`; its output goes to a file in the folder."""
        log = (self.folder / f"{len(self.children)}-{words[0]}.log").open("wb")
        command = [sys.executable, "-m", "cvpipe", *words]
        child = subprocess.Popen(command, env={**self.env, **(env or {})}, stdout=log, stderr=log)
        log.close()
        self.children.append(child)
        return child

    def start_api(self) -> None:
        """Start the API and wait until it is ready."""
        child = self.start("api")
        self.until(lambda: child.poll() is not None or self._is_ready(), "the API is ready")
        assert child.poll() is None, self.logs()

    def worker(
        self, *, queues: str = "ingest,cpu,gpu,sequence,crops,finish,notify", threads: int = 1
    ) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start("worker", "--queues", queues, "--threads", str(threads))

    def client(self) -> Client:
        """A client of this deployment."""
        return Client(self.url)

    def until(self, is_so: Callable[[], Any], what: str, *, seconds: float = 100) -> None:
        """Wait until something is so. Fails where it is not in time."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}\n{self.logs()}"
            time.sleep(0.02)

    def logs(self) -> str:
        """What all children have printed."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.log")))

    def close(self, *, keep: int = 0) -> None:
        """End what this deployment started, but for the first so many processes."""
        for child in self.children[keep:]:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.children[keep:]:
            with suppress(subprocess.TimeoutExpired):
                child.wait(30)
            if child.poll() is None:
                child.kill()
                child.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False
