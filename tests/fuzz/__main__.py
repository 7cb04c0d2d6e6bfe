"""`python -m tests.fuzz --count 5000 --seed 1`: try mutants, show what came of them, fail on what must not be.

`--only SEED` tries one again; `--keep FOLDER` also writes what went wrong there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tests.fuzz import trial
from tests.fuzz.seeds import corpus
from tests.fuzz.trial import Outcome

_COMPARE_EVERY = 10
_BATCH = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1, help="of the first mutant; the next ones count up")
    parser.add_argument("--only", type=int, help="try the mutant of this seed alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="of PyAV's clips alone, as the test suite does")
    parser.add_argument("--keep", type=Path, help="write mutants that go wrong or crash a decoder into this folder")
    given = parser.parse_args(arguments)
    seeds = range(given.seed, given.seed + given.count) if given.only is None else range(given.only, given.only + 1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cvpipe-fuzz-") as name:
        folder = Path(name)
        files = corpus(folder / "corpus", whole=not given.small)
        print(f"{len(seeds)} mutants of {len(files.files)} files", flush=True)
        outcomes = []
        every = _COMPARE_EVERY if given.only is None else 1
        for outcome in _outcomes(folder, seeds, given.jobs, every=every, small=given.small):
            outcomes.append(outcome)
            if outcome.wrong or outcome.end == "decoder_crashed":
                _show(outcome)
                if given.keep:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{outcome.seed}-{Path(outcome.source).name}").write_bytes(
                        files.mutant(outcome.seed).data
                    )
            if len(outcomes) % 250 == 0:
                print(f"{len(outcomes)} of {len(seeds)}, {time.monotonic() - began:.0f} s", flush=True)
    _table(outcomes)
    return 1 if any(outcome.wrong for outcome in outcomes) or len(outcomes) < len(seeds) else 0


def _outcomes(folder: Path, seeds: range, jobs: int, *, every: int, small: bool) -> Iterator[Outcome]:
    spawn = multiprocessing.get_context("spawn")
    batches = [seeds[at : at + _BATCH] for at in range(0, len(seeds), _BATCH)]
    with ProcessPoolExecutor(min(jobs, len(batches)), spawn, trial.prepare, (folder, not small)) as pool:
        try:
            for batch in pool.map(trial.try_out, batches, [every] * len(batches)):
                yield from batch
        except BrokenProcessPool:
            print("a process that reads videos DIED; try again with --jobs 1 to see at which seed", flush=True)


def _show(outcome: Outcome) -> None:
    what = outcome.wrong or f"{outcome.end}: {outcome.message}"
    print(f"seed {outcome.seed} ({outcome.source}: {', '.join(outcome.done)}): {what}", flush=True)


def _table(outcomes: Sequence[Outcome]) -> None:
    ends = Counter(outcome.end for outcome in outcomes)
    print(f"\n{'outcome':<26} {'mutants':>7} {'slowest':>8} {'most memory':>12}")
    for end, count in ends.most_common():
        those = [outcome for outcome in outcomes if outcome.end == end]
        memory = max(outcome.peak_bytes for outcome in those) / 2**20
        print(f"{end:<26} {count:>7} {max(o.seconds for o in those):>6.2f} s {memory:>9.0f} MB")
    compared = [outcome for outcome in outcomes if outcome.inexact is not None]
    inexact = [outcome.seed for outcome in compared if outcome.inexact]
    print(f"\nread in chunks as in one go: {len(compared) - len(inexact)} of {len(compared)} tried; not so: {inexact}")
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    print(f"wrong: {len(wrong)}{'; again with --only SEED' if wrong else ''}")
    for outcome in wrong:
        _show(outcome)


if __name__ == "__main__":
    sys.exit(main())
