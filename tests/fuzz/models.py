"""`python -m tests.fuzz.models --count 1000 --seed 1`: hostile ONNX files, added as the service adds them.

Each must end in success or in a documented code, in time and within the memory allowed. The process that looks at a
file is forked from a warm one here, so that a thousand take minutes; all else is the service's own.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cvpipe import errors
from cvpipe.errors import InvalidModel
from cvpipe.modelfiles import Limits, Wish, child, process
from tests.fuzz.hostile import mutant, seeds

LIMITS = Limits(memory_bytes=3 * 2**30, seconds=10)
SECONDS = 30
CODES = frozenset(cls.code for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, InvalidModel))


@dataclass(frozen=True)
class Ended:
    """How a mutant ended: `ok` or a code. seconds: it took. bytes: most memory of its process."""

    what: str
    code: str
    words: str
    seconds: float
    bytes: int

    @property
    def is_fine(self) -> bool:
        return (self.code == "ok" or self.code in CODES) and self.seconds < SECONDS and self.bytes < LIMITS.memory_bytes


def fork(fds: tuple[int, ...], seconds: float) -> tuple[int | None, int]:
    """As `process._run`, in a fork of this process, which has warmed up; the process is single-threaded."""
    us = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(fds, us)
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    in_time = bool(poll.poll(seconds * 1000))
    if not in_time:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    _, status, usage = os.wait4(pid, 0)
    fork.peak = usage.ru_maxrss * 1024  # type: ignore[attr-defined]
    return (os.waitstatus_to_exitcode(status) if in_time else None), usage.ru_maxrss * 1024


def _be_child(fds: tuple[int, ...], parent: int) -> NoReturn:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    try:
        child.serve(parent, *fds)
    finally:
        os._exit(1)


def run(number: int, good: dict[str, bytes], folder: Path) -> Ended:
    """Add one mutant."""
    what, raw = mutant(good, number)
    file = folder / f"{number}.onnx"
    file.write_bytes(raw)
    began, code, words = time.monotonic(), "ok", ""
    fork.peak = 0  # type: ignore[attr-defined]
    try:
        process.examine(file, Wish(), "mutant", LIMITS)
    except InvalidModel as error:
        code, words = error.code, error.message
    finally:
        file.unlink()
    return Ended(what, code, words, time.monotonic() - began, fork.peak)  # type: ignore[attr-defined]


def main() -> int:
    """Run, tell, and return 1 where one did not end as it must."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    chosen = parser.parse_args()
    assets = Path(os.environ.get("CVPIPE_ASSETS") or Path(__file__).parents[3] / "shared" / "assets")
    good = seeds(assets if assets.is_dir() else None)
    child.warm_up()
    process._run = fork  # type: ignore[assignment]
    ended: list[tuple[int, Ended]] = []
    with tempfile.TemporaryDirectory() as folder:
        for place in range(chosen.first, chosen.count, chosen.step):
            number = chosen.seed * 1_000_000 + place
            ended.append((number, run(number, good, Path(folder))))
            if not ended[-1][1].is_fine or ended[-1][1].code == "model_crashed":
                print(number, ended[-1][1], flush=True)
    counts = Counter(one.code for _, one in ended)
    longest = max(ended, key=lambda pair: pair[1].seconds)
    largest = max(ended, key=lambda pair: pair[1].bytes)
    wrong = [pair for pair in ended if not pair[1].is_fine]
    print(f"{len(ended)} mutants: {dict(counts.most_common())}")
    print(f"longest {longest[1].seconds:.1f} s ({longest[1].what})")
    print(f"most memory {largest[1].bytes / 2**20:.0f} MiB ({largest[1].what})")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{len(wrong)} did not end as they must; this process had {own:.0f} MiB at most")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
