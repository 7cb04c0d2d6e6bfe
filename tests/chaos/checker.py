"""The checker: compares what there is at the end, and what clients were told, with what must be.

What it forgives: a chunk that the nemesis may have hit three times is given up, as one that kills its workers, and
repaired, as a user would; and where the store went back to an earlier time, what was told between that time and then
is undone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Literal

from cvpipe.job import TRANSITIONS, JobState
from cvpipe.work.bench import MAX_CRASHES
from tests.chaos.evidence import Evidence, Truth
from tests.chaos.history import Entry, History

Kind = Literal["lost", "doubled", "out of order", "wrong", "no end", "events", "webhook", "job lost", "job doubled"]
KINDS: tuple[Kind, ...] = (
    "lost", "doubled", "out of order", "wrong", "no end", "events", "webhook", "job lost", "job doubled",
)  # fmt: skip


_LONGEST_FAULT_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not be. job: its id, or "" where there is none."""

    kind: Kind
    job: str
    text: str


def check(history: History, truths: Mapping[str, Truth], found: Sequence[Evidence]) -> list[Violation]:
    """Everything that is wrong with a run."""
    undone = _undone(history)
    delivered = {(entry.facts["job"], entry.facts["event"]) for entry in history.of("delivered")}
    wrong = _check_jobs(history, found, undone)
    for evidence in found:
        truth = truths[evidence.recipe]
        wrong += check_records(evidence, truth)
        wrong += check_events(evidence)
        wrong += _check_end(history, evidence, truth)
        event = f"job.{evidence.job.state}"
        if evidence.job.state.is_final and (evidence.job.id, event) not in delivered:
            wrong.append(Violation("webhook", evidence.job.id, f"no webhook told of {event}"))
    wrong += _check_given_up(history)
    return wrong + _check_told(history, truths, found, undone)


def check_records(evidence: Evidence, truth: Truth) -> list[Violation]:
    """Each record of the truth once, in order and equal; of a canceled job, some."""
    job, wrong = evidence.job, []

    def note(kind: Kind, text: str) -> None:
        wrong.append(Violation(kind, job.id, text))

    expected = {json.loads(line)["frame"]: line for line in truth.records}
    frames = [json.loads(line)["frame"] for line in evidence.records]
    if doubled := [frame for frame, count in Counter(frames).items() if count > 1]:
        note("doubled", f"records of frames {doubled[:10]}")
    if back := [(one, two) for one, two in pairwise(frames) if two < one]:
        note("out of order", f"records of frames {back[:5]}")
    missing = expected.keys() - set(frames)
    if missing and job.state.is_final and job.state is not JobState.canceled:
        note("lost", f"records of frames {sorted(missing)[:10]}, {len(missing)} in all")
    for line in evidence.records:
        frame = json.loads(line)["frame"]
        if expected.get(frame) != line:
            note("wrong", f"record of frame {frame}: {line[:300]} and not {expected.get(frame, 'none')[:300]}")
            break
    if job.state is not JobState.canceled:
        for name in truth.files.keys() | evidence.files.keys():
            if truth.files.get(name) != evidence.files.get(name) and job.state.is_final:
                note("wrong", f"file {name}")
    return wrong


def check_events(evidence: Evidence) -> list[Violation]:
    """One end for each time that the job was queued; states follow one another; progress goes up in between."""
    job, wrong = evidence.job, []
    kinds = [str(event["type"]) for event in evidence.events]
    states = [kind.removeprefix("job.") for kind in kinds if kind.startswith("job.")]
    ends = [state for state in states if JobState(state).is_final]
    if job.state.is_final and len(ends) != 1 + job.repairs + job.retries:
        again = f"{job.repairs} repairs, {job.retries} retries"
        wrong.append(f"{len(ends)} ends ({', '.join(ends)}) and {again}")
    if not states or states[0] != "queued":
        wrong.append(f"it begins with {states[:1]}")
    wrong += [f"{two} after {one}" for one, two in pairwise(states) if not _may_follow(one, two)]
    if states and states[-1] != job.state:
        wrong.append(f"the last event says {states[-1]}, the job {job.state}")
    done, over = 0, False
    for event in evidence.events:
        kind = str(event["type"])
        if kind == "job.queued":  # resumed, or begun again after an end
            done, over = (0 if over else done), False
        elif kind == "progress":
            if over:
                wrong.append("progress after the end")
            if event["frames_done"] < done:
                wrong.append(f"progress from {done} back to {event['frames_done']}")
            done = event["frames_done"]
        elif kind.startswith("job."):
            over = JobState(kind.removeprefix("job.")).is_final
    return [Violation("events", job.id, text) for text in wrong]


def _may_follow(one: str, two: str) -> bool:
    return JobState(two) in TRANSITIONS[JobState(one)]


def _check_end(history: History, evidence: Evidence, truth: Truth) -> list[Violation]:
    job = evidence.job
    if not job.state.is_final:
        return [Violation("no end", job.id, f"it is {job.state}, {job.progress.frames_done} frames done")]
    canceled = any(entry.facts["job"] == job.id for entry in history.of("canceling"))
    if job.state == truth.state or (canceled and job.state is JobState.canceled):
        return []
    return [Violation("wrong", job.id, f"it ended {job.state} and not {truth.state}: {job.error}")]


def _check_jobs(history: History, found: Sequence[Evidence], undone: Sequence[tuple[float, float]]) -> list[Violation]:
    """Every job that a client was told to be accepted is there, and one for each errand."""
    there = {evidence.job.id for evidence in found}
    wrong = [
        Violation("job lost", entry.facts["job"], "a client was told 202")
        for entry in history.of("accepted")
        if entry.facts["job"] not in there and not _is_undone(entry, undone)
    ]
    for number, count in Counter(evidence.number for evidence in found).items():
        if count > 1:
            ids = [evidence.job.id for evidence in found if evidence.number == number]
            wrong.append(Violation("job doubled", ids[0], f"one Idempotency-Key made {', '.join(ids)}"))
    return wrong


def _check_told(
    history: History, truths: Mapping[str, Truth], found: Sequence[Evidence], undone: Sequence[tuple[float, float]]
) -> list[Violation]:
    """What a client was told of an end is still so; what it saw while following is what there is."""
    wrong = []
    last = {entry.facts["job"]: entry for entry in history.of("told")}
    jobs = {evidence.job.id: evidence for evidence in found}
    for job, entry in last.items():
        if job not in jobs or _is_undone(entry, undone):
            continue
        evidence, state = jobs[job], entry.facts["state"]
        if state != evidence.job.state and not (evidence.job.repairs or evidence.job.retries):
            wrong.append(Violation("wrong", job, f"a client was told {state}, now it is {evidence.job.state}"))
        live = entry.facts.get("live")
        began = entry.facts.get("began", entry.at)
        gone_back = any(began <= until and copied <= entry.at for copied, until in undone)
        if live is None or state != truths[evidence.recipe].state or evidence.job.repairs or gone_back:
            continue
        if live != digest(truths[evidence.recipe].records):
            wrong.append(Violation("wrong", job, "records that came while it ran are not those that there are"))
    return wrong


def _check_given_up(history: History) -> list[Violation]:
    """Nothing is given up before the nemesis has begun as many faults in the job's time as a chunk may survive."""
    accepted = {entry.facts["job"]: entry.at for entry in history.of("accepted")}
    wrong = []
    for entry in history.of("note"):
        if "given_up" not in entry.facts:
            continue
        since = accepted[entry.facts["job"]] - _LONGEST_FAULT_SECONDS
        count = sum(since <= fault.at <= entry.at for fault in history.of("began"))
        if count < MAX_CRASHES:
            text = f"given up after {count} faults: {entry.facts['given_up']}"
            wrong.append(Violation("wrong", entry.facts["job"], text))
    return wrong


def digest(records: Sequence[str]) -> str:
    """sha256 of records, a line each."""
    return sha256("".join(record + "\n" for record in records).encode()).hexdigest()


def _undone(history: History) -> list[tuple[float, float]]:
    """Times (from, to) of which the store knows nothing any more."""
    return [(entry.facts["copied_at"], entry.at) for entry in history.of("rolled back")]


def _is_undone(entry: Entry, undone: Sequence[tuple[float, float]]) -> bool:
    return any(copied <= entry.at <= until for copied, until in undone)
