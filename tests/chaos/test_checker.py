"""The checker sees everything that must not be, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cvpipe.job import Job
from tests.chaos import checker
from tests.chaos.checker import Violation, check
from tests.chaos.evidence import Evidence, Truth
from tests.chaos.history import Entry, History, What

LINES = tuple(json.dumps({"frame": frame, "values": {"edges": frame / 10}}) for frame in range(5))
TRUTH = Truth("succeeded", LINES, {"frames.ndjson": "abc"})
EVENTS: list[dict[str, Any]] = [
    {"type": "job.queued"},
    {"type": "job.running"},
    {"type": "progress", "frames_done": 2},
    {"type": "progress", "frames_done": 5},
    {"type": "job.succeeded"},
]


def make_job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": "j1", "state": "succeeded", "pipeline": {}, "priority": 4, "chunk_seconds": 1, "progress": {},
        "created_at": 1, "labels": {"number": "0", "recipe": "edges"},
    }  # fmt: skip
    return Job.model_validate({**fields, **changes})


def make_evidence(**changes: Any) -> Evidence:
    return replace(Evidence(make_job(), LINES, TRUTH.files, EVENTS), **changes)


def make_history(*more: tuple[What, dict[str, Any]]) -> History:
    history = History()
    history.add("client-0", "accepted", number=0, job="j1", recipe="edges")
    history.add("client-0", "told", job="j1", state="succeeded")
    history.add("receiver", "delivered", job="j1", event="job.succeeded", message="m")
    for what, facts in more:
        history.add("client-0", what, **facts)
    return history


def kinds(wrong: list[Violation]) -> list[str]:
    return [violation.kind for violation in wrong]


def of(evidence: Evidence, history: History | None = None) -> list[str]:
    return kinds(check(history or make_history(), {"edges": TRUTH}, [evidence]))


def test_a_run_as_it_should_be_has_nothing_wrong() -> None:
    assert of(make_evidence()) == []


@pytest.mark.parametrize(
    ("records", "found"),
    [
        pytest.param(LINES[:2] + LINES[3:], ["lost"], id="one is missing"),
        pytest.param((*LINES[:2], LINES[1], *LINES[2:]), ["doubled"], id="one is there twice"),
        pytest.param((LINES[1], LINES[0], *LINES[2:]), ["out of order"], id="two changed places"),
        pytest.param((*LINES[:4], LINES[4].replace("0.4", "0.5")), ["wrong"], id="one has another value"),
        pytest.param((*LINES, json.dumps({"frame": 5})), ["wrong"], id="one too many"),
        pytest.param((), ["lost"], id="none"),
    ],
)
def test_records_that_are_not_those_of_the_truth_are_told(records: tuple[str, ...], found: list[str]) -> None:
    assert of(make_evidence(records=records)) == found


@pytest.mark.parametrize(
    ("events", "text"),
    [
        pytest.param([*EVENTS, EVENTS[-1]], "2 ends (succeeded, succeeded) and 0 repairs, 0 retries", id="two ends"),
        pytest.param(EVENTS[:-1], "0 ends", id="no end"),
        pytest.param([*EVENTS, EVENTS[2]], "progress after the end", id="progress after the end"),
        pytest.param([*EVENTS[:2], EVENTS[3], EVENTS[2], EVENTS[4]], "progress from 5 back to 2", id="progress back"),
        pytest.param(EVENTS[1:], "it begins with ['running']", id="never queued"),
        pytest.param([EVENTS[0], EVENTS[4]], "succeeded after queued", id="never run"),
    ],
)
def test_events_that_do_not_follow_one_another_are_told(events: list[dict[str, Any]], text: str) -> None:
    wrong = check(make_history(), {"edges": TRUTH}, [make_evidence(events=events)])
    assert text in " ".join(violation.text for violation in wrong)
    assert set(kinds(wrong)) == {"events"}


def test_a_repaired_job_has_one_end_for_each_time_it_was_queued() -> None:
    again = [*EVENTS[:-1], {"type": "job.succeeded_with_gaps"}, *EVENTS]
    assert of(make_evidence(job=make_job(repairs=1), events=again)) == []
    assert of(make_evidence(job=make_job(repairs=1))) == ["events"]


def test_a_job_that_was_accepted_and_is_not_there_is_lost() -> None:
    assert kinds(check(make_history(), {}, [])) == ["job lost"]


def test_a_job_that_the_store_never_knew_in_the_time_it_went_back_to_is_not_lost() -> None:
    history = make_history()
    (accepted,) = history.of("accepted")
    history.add("nemesis", "rolled back", copied_at=accepted.at - 1)
    assert check(history, {}, []) == []
    late = History()
    late.add("nemesis", "rolled back", copied_at=accepted.at + 1)
    late.add("client-0", "accepted", number=0, job="j1")
    assert kinds(check(late, {}, [])) == ["job lost"]


def test_two_jobs_of_one_key_are_told() -> None:
    other = make_evidence(job=make_job(id="j2"))
    history = make_history(("delivered", {"job": "j2", "event": "job.succeeded"}))
    assert kinds(check(history, {"edges": TRUTH}, [make_evidence(), other])) == ["job doubled"]


def test_an_end_without_a_webhook_is_told() -> None:
    history = History()
    history.add("client-0", "accepted", number=0, job="j1")
    assert of(make_evidence(), history) == ["webhook"]
    history.add("receiver", "delivered", job="j1", event="job.failed")
    assert of(make_evidence(), history) == ["webhook"]
    history.add("receiver", "delivered", job="j1", event="job.succeeded")
    assert of(make_evidence(), history) == []


def test_a_job_that_does_not_end_is_told() -> None:
    running = make_evidence(job=make_job(state="running"), events=EVENTS[:4], records=(), files={})
    assert of(running, History()) == ["no end"]


def test_another_end_than_that_of_the_truth_is_told_and_a_cancel_that_was_asked_for_is_not() -> None:
    canceled = make_evidence(
        job=make_job(state="canceled"), records=LINES[:3], files={}, events=[*EVENTS[:3], {"type": "job.canceled"}]
    )
    history = History()
    history.add("receiver", "delivered", job="j1", event="job.canceled")
    assert of(canceled, history) == ["wrong"]
    history.add("client-0", "canceling", job="j1")
    assert of(canceled, history) == []


def test_a_reversal_of_what_a_client_was_told_is_told() -> None:
    history = make_history(("told", {"job": "j1", "state": "failed"}))
    assert of(make_evidence(), history) == ["wrong"]


def test_what_came_while_the_job_ran_must_be_what_there_is() -> None:
    right, wrong = checker.digest(LINES), checker.digest(LINES[:4])
    assert of(make_evidence(), make_history(("told", {"job": "j1", "state": "succeeded", "live": right}))) == []
    assert of(make_evidence(), make_history(("told", {"job": "j1", "state": "succeeded", "live": wrong}))) == ["wrong"]


def test_a_file_that_is_another_is_told() -> None:
    assert of(make_evidence(files={"frames.ndjson": "other"})) == ["wrong"]
    assert of(make_evidence(files={})) == ["wrong"]


@pytest.mark.parametrize(("faults", "found"), [(3, []), (2, ["wrong"])])
def test_what_is_given_up_without_three_faults_is_told(faults: int, found: list[str]) -> None:
    history = make_history()
    for _ in range(faults):
        history.add("nemesis", "began", fault="kill worker")
    history.add("client-0", "note", job="j1", given_up="the worker died 3 times")
    assert of(make_evidence(), history) == found


def test_an_entry_shows_its_time_its_author_and_its_facts() -> None:
    assert str(Entry(1.5, "nemesis", "began", {"fault": "kill worker"})).split() == [
        "00:00:01.500", "nemesis", "began", "fault=kill", "worker",
    ]  # fmt: skip
