"""What a run starts ends with it, and it knows what its processes have started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.cluster import descendants

STARTS_ONE = """
import os, sys, time
from pathlib import Path
from tests.servers import Server

server = Server("sleeper", Path(sys.argv[1]))
server.spawn(["sh", "-c", "sleep 600 & wait"], dict(os.environ), lambda: True, 5)
print(server.pid, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_a_run_has_started_ends_with_it_also_when_it_is_killed(root: Path, tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
    )  # fmt: skip
    assert run.stdout is not None
    started = int(run.stdout.readline())
    deadline = time.monotonic() + 60
    while not (below := descendants(started)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(below) == 1  # the sleep
    assert all(is_alive(pid) for pid in (started, *below))
    run.kill()
    run.wait()
    run.stdout.close()
    while any(is_alive(pid) for pid in (started, *below)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [pid for pid in (started, *below) if is_alive(pid)]


def test_a_process_that_is_gone_has_no_descendants() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert descendants(gone.pid) == []
