"""`python -m tests.chaos --seed 1 --minutes 3`: break a deployment, show what came of it, fail on what must not be.

`--keep FOLDER` leaves history, logs and data there. `--only "kill worker"` (several times) draws from these alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import moments, recovery, report
from tests.chaos.cluster import LEASE_SECONDS
from tests.chaos.faults import Fault, disks, lines, messages, processes, servers
from tests.chaos.run import Laboratory, Outcome

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS, *servers.FAULTS, *lines.FAULTS, *messages.FAULTS, *disks.FAULTS
)  # fmt: skip

SINGLE = ("kill worker", "kill decoders", "freeze worker", "kill Redis", "kill RabbitMQ", "kill sweeper", "cut lines",
          "close all connections", "delete queues", "purge queues")  # fmt: skip
"""Faults after each of which the time is taken until work goes on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--pace", type=float, default=1, help="pauses between faults are so many times as long")
    parser.add_argument("--only", action="append", metavar="KIND", choices=[fault.kind for fault in FAULTS])
    parser.add_argument("--after-accept", type=int, default=0, metavar="N", help="then kill after N answers of 202")
    parser.add_argument("--after-done", type=int, default=0, metavar="N", help="then kill after N ends were told")
    parser.add_argument(
        "--single", type=int, default=0, metavar="N", help="then time the recovery from N single faults"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cvpipe-chaos-") as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with disks.own_disk(folder / "data") as has_disk:
            _say(f"seed {given.seed}, {given.minutes:g} minutes, {given.workers} workers, {given.clients} clients")
            if not has_disk:
                _say("the data have no disk of their own: when it is full, their folders refuse new files")
            with Laboratory(folder, given.seed, workers=given.workers, say=_say) as laboratory:
                outcome = _break(laboratory, given)
        for line in report.table(outcome):
            _say(line)
        if outcome.is_red:
            for line in report.complaints(outcome, _command(given)):
                _say(line)
    return int(outcome.is_red)


def _break(laboratory: Laboratory, given: argparse.Namespace) -> Outcome:
    faults = [fault for fault in FAULTS if not given.only or fault.kind in given.only]
    outcome = Outcome(laboratory.history)
    if given.minutes:
        outcome = laboratory.break_for(given.minutes * 60, faults, clients=given.clients, pace=given.pace)
    if given.single:
        outcome.recoveries = recovery.measure(laboratory, [f for f in faults if f.kind in SINGLE], given.single)
        slow = recovery.percentile([seconds for _, seconds in outcome.recoveries], 0.95)
        if slow > LEASE_SECONDS + 5:
            outcome.defects.append(f"after 5 % of single faults work stood still for {slow:.1f} s or longer")
    if given.after_accept:
        outcome.defects += moments.kill_after_accept(laboratory, given.after_accept)
        _say(f"killed after {given.after_accept} were accepted")
    if given.after_done:
        outcome.defects += moments.kill_after_done(laboratory, given.after_done)
        _say(f"killed after {given.after_done} were over")
    return outcome


def _command(given: argparse.Namespace) -> list[str]:
    words = ["python", "-m", "tests.chaos", "--seed", str(given.seed), "--minutes", f"{given.minutes:g}"]
    words += ["--workers", str(given.workers), "--clients", str(given.clients), "--pace", f"{given.pace:g}"]
    for name in ("after_accept", "after_done", "single"):
        if count := getattr(given, name):
            words += [f"--{name.replace('_', '-')}", str(count)]
    return words + [word for kind in given.only or () for word in ("--only", kind)]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
