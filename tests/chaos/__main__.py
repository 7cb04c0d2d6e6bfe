"""`python -m tests.chaos --seed 1 --minutes 3`: break a deployment, show what came of it, fail on what must not be.

`--keep FOLDER` leaves history, logs and data there. `--only "kill worker"` (several times) draws from these alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import report
from tests.chaos.faults import Fault, disks, lines, messages, processes, servers
from tests.chaos.run import Laboratory

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS, *servers.FAULTS, *lines.FAULTS, *messages.FAULTS, *disks.FAULTS
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--only", action="append", metavar="KIND", choices=[fault.kind for fault in FAULTS])
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    given = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if not given.only or fault.kind in given.only]
    with tempfile.TemporaryDirectory(prefix="cvpipe-chaos-") as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        disk = "" if disks.give_own_disk(folder / "data") else "; the data have no disk of their own"
        _say(f"seed {given.seed}, {given.minutes:g} minutes, {given.workers} workers, {given.clients} clients{disk}")
        with Laboratory(folder, given.seed, workers=given.workers, say=_say) as laboratory:
            outcome = laboratory.break_for(given.minutes * 60, faults, clients=given.clients)
        for line in report.table(outcome):
            _say(line)
        if outcome.is_red:
            for line in report.complaints(outcome, _command(given)):
                _say(line)
    return int(outcome.is_red)


def _command(given: argparse.Namespace) -> list[str]:
    words = ["python", "-m", "tests.chaos", "--seed", str(given.seed), "--minutes", f"{given.minutes:g}"]
    words += ["--workers", str(given.workers), "--clients", str(given.clients)]
    return words + [word for kind in given.only or () for word in ("--only", kind)]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
