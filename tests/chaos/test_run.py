"""A short run of the chaos runner; the long ones are `make chaos`. CVPIPE_CHAOS_SECONDS makes it longer or shorter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import FAULTS
from tests.chaos.history import History
from tests.chaos.report import complaints, table
from tests.chaos.run import Outcome
from tests.conftest import missing
from tests.servers import find_rabbitmq, find_redis

SECONDS = float(os.environ.get("CVPIPE_CHAOS_SECONDS", "180"))
#: Videos, truth, the end of all jobs and the checker take about so long on a busy machine.
_AROUND_SECONDS = 420


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + _AROUND_SECONDS)
def test_nothing_is_lost_doubled_out_of_order_or_wrong_whatever_breaks(root: Path, tmp_path: Path) -> None:
    if find_redis() is None or find_rabbitmq() is None:
        missing("redis-server and rabbitmq-server are not installed", promised="CI" in os.environ)
    command = [sys.executable, "-m", "tests.chaos", "--seed", "1", "--minutes", str(SECONDS / 60)]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path)], cwd=root, capture_output=True, text=True,
        timeout=SECONDS + _AROUND_SECONDS - 10, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    assert "0 lost, 0 doubled, 0 out of order, 0 wrong, 0 no end" in done.stdout
    assert "kill worker" in done.stdout


def test_a_red_run_tells_the_history_and_how_to_repeat_it() -> None:
    from tests.chaos.checker import Violation

    history = History()
    history.add("client-0", "accepted", number=0, job="j1")
    history.add("nemesis", "began", fault=FAULTS[0].kind, of="worker-1")
    history.add("client-1", "accepted", number=1, job="j2")
    outcome = Outcome(history, faults=history.faults(), violations=[Violation("lost", "j1", "records of frames [3]")])
    assert outcome.is_red
    assert "1 lost, 0 doubled" in "\n".join(table(outcome))
    told = "\n".join(complaints(outcome, ["python", "-m", "tests.chaos", "--seed", "4"]))
    assert "WRONG: lost: job j1: records of frames [3]" in told
    assert "fault=kill worker of=worker-1" in told
    assert "job=j2" not in told
    assert told.endswith("again with: python -m tests.chaos --seed 4")
