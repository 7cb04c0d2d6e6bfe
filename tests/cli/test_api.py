"""`cvpipe api --processes N`: several processes on one port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port


def until(condition: Callable[[], bool], what: str, seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Several:
    """The API by two processes."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        env = {**os.environ, "CVPIPE_REDIS_URL": redis_url, "CVPIPE_DATA_DIR": str(folder / "data")}
        command = [sys.executable, "-m", "cvpipe", "api", "--processes", "2", "--port", str(port)]
        with self.log.open("wb") as log:
            self.parent = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def answering(self) -> str | None:
        """The number of the process that a new connection meets."""
        try:
            found = re.search(r'process="(\d)"', httpx.get(f"{self.url}/metrics", timeout=60, trust_env=False).text)
        except httpx.HTTPError:
            return None
        return found and found[1]

    def see_both(self) -> None:
        seen: set[str | None] = set()
        until(lambda: seen.add(self.answering()) or {"1", "2"} <= seen, "both answer")

    def children(self) -> list[int]:
        return list(map(int, Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()))


@pytest.fixture
def several(redis_url: str, tmp_path: Path) -> Iterator[Several]:
    several = Several(redis_url, tmp_path)
    yield several
    several.parent.kill()  # its children end with it
    several.parent.wait()


def test_all_answer_one_that_dies_is_started_again_and_they_end_together(several: Several) -> None:
    several.see_both()
    killed, other = several.children()
    os.kill(killed, signal.SIGKILL)
    until(lambda: other in several.children() and len({*several.children()} - {killed}) == 2, "another is started")
    several.see_both()
    several.parent.terminate()
    assert several.parent.wait(60) == 0
    assert "ended (-9); starting it again" in several.log.read_text()
    assert several.answering() is None
