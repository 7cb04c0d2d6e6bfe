"""What a run prints: tables, and for each violation the part of the history that belongs to it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.checker import KINDS, Violation
from tests.chaos.history import History
from tests.chaos.recovery import percentile
from tests.chaos.run import Outcome

_SHOWN_VIOLATIONS = 10
_SHOWN_LINES = 60
_AROUND_SECONDS = 5.0


def table(outcome: Outcome) -> Iterator[str]:
    """Faults by kind, jobs by state, frames, violations by kind."""
    yield f"\n{'fault':<28} {'times':>6}"
    for kind, count in sorted(outcome.faults.items(), key=lambda item: (-item[1], item[0])):
        yield f"{kind:<28} {count:>6}"
    yield f"{'all':<28} {sum(outcome.faults.values()):>6}"
    jobs = ", ".join(f"{count} {state}" for state, count in sorted(outcome.jobs.items()))
    again = f"{outcome.repairs} repairs and retries"
    yield f"\n{sum(outcome.jobs.values())} jobs ({jobs}), {outcome.frames} frames, {again}"
    yield f"{outcome.seconds:.0f} s"
    if outcome.recoveries:
        yield from _recovery_table(outcome.recoveries)
    counts = Counter(violation.kind for violation in outcome.violations)
    yield ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)


def _recovery_table(recoveries: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f"\n{'after a single fault':<28} {'times':>6} {'median':>8} {'95 %':>8} {'longest':>8}"
    kinds = sorted({kind for kind, _ in recoveries})
    for name, of in [*((kind, [kind]) for kind in kinds), ("all", kinds)]:
        seconds = [value for kind, value in recoveries if kind in of]
        shares = " ".join(f"{percentile(seconds, share):>6.1f} s" for share in (0.5, 0.95, 1.0))
        yield f"{name:<28} {len(seconds):>6} {shares}"


def complaints(outcome: Outcome, command: Sequence[str]) -> Iterator[str]:
    """What is wrong, with the history's part, and the command that repeats the run."""
    for violation in outcome.violations[:_SHOWN_VIOLATIONS]:
        yield f"\nWRONG: {violation.kind}: job {violation.job}: {violation.text}"
        yield from _lines(outcome.history, violation)
    if (more := len(outcome.violations) - _SHOWN_VIOLATIONS) > 0:
        yield f"\nand {more} more"
    for defect in outcome.defects[:_SHOWN_VIOLATIONS]:
        yield f"\nWRONG: {defect}"
    yield f"\nagain with: {shlex.join(command)}"


def _lines(history: History, violation: Violation) -> Iterator[str]:
    own = [entry.at for entry in history if entry.facts.get("job") == violation.job]
    around = (min(own) - _AROUND_SECONDS, max(own) + _AROUND_SECONDS) if own else None
    lines = [f"    {entry}" for entry in history.about(violation.job, around=around)]
    yield from lines[:_SHOWN_LINES]
    if len(lines) > _SHOWN_LINES:
        yield f"    ... {len(lines) - _SHOWN_LINES} lines more"
