"""`cvpipe worker`, where one of its threads dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cvpipe.broker import Bell, make_broker
from cvpipe.store import Ring

WITH_A_DEFECT = """
import dramatiq.worker

def process_message(self, message):
    raise ZeroDivisionError("a defect")

dramatiq.worker.WorkerThread.process_message = process_message
from cvpipe.cli import main
main()
"""


def test_a_worker_whose_thread_has_died_ends_instead_of_taking_nothing_for_ever(redis_url: str, tmp_path: Path) -> None:
    bell = Bell(make_broker(broker_url=None, redis_url=redis_url))
    bell.ring([Ring("finish:t/j", "finish", 4)])
    bell.close()
    settings = {"CVPIPE_REDIS_URL": redis_url, "CVPIPE_DATA_DIR": str(tmp_path)}
    words = ["worker", "--queues", "finish", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_DEFECT, *words],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 70, done.stderr
    assert "one of its threads has died" in done.stderr
