"""Canceling, pausing, resuming and trying again, step by step. `test_machine.py` finds what no list thinks of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from cvpipe.errors import Conflict, LeaseLost, NotFound
from cvpipe.job import FINAL, TRANSITIONS, JobError, JobState
from cvpipe.store import Store
from tests.store.test_store import FRAMES_ONLY, WITH_SEQUENCE, claim, make_record, planned, run_chunk, submit

REASON = JobError(code="internal", message="x")


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def due(store: Store) -> list[str]:
    return sorted(raw.decode() for raw in store.client.zrange("cvpipe:due", 0, -1))  # type: ignore[union-attr]


def fail(store: Store, task: str, job: str) -> None:
    store.end_job(claim(store, task), job, JobState.failed, error=REASON, exports=[])


def test_a_final_state_is_one_that_only_a_new_beginning_follows() -> None:
    assert {state for state in JobState if TRANSITIONS[state] <= {JobState.queued} and state in FINAL} == FINAL
    assert [state for state in JobState if state.is_final] == [
        "succeeded", "succeeded_with_gaps", "failed", "canceled",
    ]  # fmt: skip


def test_a_transition_that_is_not_in_the_table_changes_nothing(store: Store) -> None:
    submit(store)
    with pytest.raises(redis.ResponseError, match="a job that is running can not become queued"):
        store.end_job(claim(store, "ingest:t/j1"), "t/j1", JobState.queued, error=None, exports=[])
    assert store.job("t/j1").state == JobState.running


def test_a_cancel_waits_for_its_workers_and_not_for_ever(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3, webhook=True)
    first, second = (claim(store, f"chunk:{job}:0:{n}") for n in (0, 1))
    assert store.cancel(job) == []
    assert due(store) == [f"clock:{job}"]
    assert store.leave(first) == []
    assert store.job(job).state == JobState.canceling
    assert store.sweep(limit=10, ring_again_seconds=5) == []
    store.client.zadd("cvpipe:due", {f"clock:{job}": 0})  # a second later
    assert [ring.task for ring in store.sweep(limit=10, ring_again_seconds=5)] == [f"notify:{job}:1"]
    assert store.job(job).state == JobState.canceled
    assert store.leave(second) == []
    assert [event["type"] for _, event in store.events(job)][-2:] == ["job.canceling", "job.canceled"]


def test_a_paused_job_is_held_by_nobody_and_goes_on_where_it_was(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=2)
    held = claim(store, f"chunk:{job}:0:0")
    store.append(held, job, (0, 0), [make_record(n) for n in range(4)], lease_seconds=30, counted=True)
    store.pause(job)
    with pytest.raises(LeaseLost):
        store.append(held, job, (0, 0), [make_record(4)], lease_seconds=30, counted=True)
    assert [store.claim(f"chunk:{job}:0:{n}", lease_seconds=30) for n in (0, 1)] == ["paused", "paused"]
    assert due(store) == []
    store.pause(job)
    assert sorted(ring.task for ring in store.resume(job)) == [f"chunk:{job}:0:0", f"chunk:{job}:0:1"]
    assert store.job(job).state == JobState.queued
    again = claim(store, f"chunk:{job}:0:0")
    assert (again.crashes, again.failures, store.last_frame(job, 0, 0)) == (0, 0, 3)
    assert store.resume(job) == []
    assert store.job(job).state == JobState.running


def test_the_speed_of_a_job_counts_the_time_in_which_it_ran(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=2)
    run_chunk(store, job, 0, 0)
    store.client.hincrby(f"cvpipe:job:{job}", "running_since", -5000)  # five seconds went by
    store.pause(job)
    store.client.hincrby(f"cvpipe:job:{job}", "started_at", -3_600_000)  # paused for an hour
    shown = store.job(job).progress
    assert shown.fps == pytest.approx(2, rel=0.1)
    assert shown.eta_seconds is None


@pytest.mark.parametrize("state", [JobState.canceled, JobState.failed])
def test_what_is_over_is_neither_paused_nor_resumed(store: Store, state: JobState) -> None:
    submit(store)
    store.cancel("t/j1") if state is JobState.canceled else fail(store, "ingest:t/j1", "t/j1")
    with pytest.raises(Conflict, match=f"the job is {state}; only one that is queued or running can be paused"):
        store.pause("t/j1")
    with pytest.raises(Conflict, match=f"the job is {state}; only one that is paused can be resumed"):
        store.resume("t/j1")
    for verb in (store.pause, store.resume, store.retry):
        with pytest.raises(NotFound):
            verb("t/j2")


def test_a_job_that_could_not_be_planned_is_planned_again(store: Store) -> None:
    submit(store)
    fail(store, "ingest:t/j1", "t/j1")
    assert [(ring.task, ring.queue) for ring in store.retry("t/j1")] == [("ingest:t/j1", "ingest")]
    shown = store.job("t/j1")
    assert (shown.state, shown.error, shown.finished_at, shown.retries) == (JobState.queued, None, None, 1)


def test_a_job_that_failed_halfway_goes_on_with_the_rest(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE, chunks=3)
    run_chunk(store, job, 0, 0)
    run_chunk(store, job, 1, 0, stream=False)
    held = claim(store, f"chunk:{job}:0:1")
    store.append(held, job, (0, 1), [make_record(n) for n in range(10, 14)], lease_seconds=30, counted=True)
    fail(store, f"chunk:{job}:0:2", job)
    assert store.claim(f"chunk:{job}:0:1", lease_seconds=30) == "gone"
    assert sorted(ring.task for ring in store.retry(job)) == [f"chunk:{job}:0:1", f"chunk:{job}:0:2"]
    assert store.last_frame(job, 0, 1) == 13
    assert store.job(job).progress.frames_done == 14
    assert run_chunk(store, job, 0, 2) == []
    assert run_chunk(store, job, 0, 1) == [f"chunk:{job}:1:1"]
    assert run_chunk(store, job, 1, 1, stream=False) == [f"chunk:{job}:1:2"]
    assert run_chunk(store, job, 1, 2, stream=False) == [f"finish:{job}"]
    assert [record.frame for _, record in store.frames(job)[0]] == list(range(30))


def test_a_job_whose_end_failed_has_only_its_end_made_again(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=1)
    run_chunk(store, job, 0, 0)
    fail(store, f"finish:{job}", job)
    assert [ring.task for ring in store.retry(job)] == [f"finish:{job}"]


def test_a_job_whose_chunks_were_all_given_up_has_them_run_again(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=2)
    for chunk in range(2):
        store.finish_chunk(claim(store, f"chunk:{job}:0:{chunk}"), job, 0, chunk, failed=REASON)
    fail(store, f"finish:{job}", job)
    assert [ring.task for ring in store.retry(job)] == [f"chunk:{job}:0:0", f"chunk:{job}:0:1"]
    shown = store.job(job)
    assert (shown.retries, shown.repairs, shown.progress.chunks_failed) == (1, 0, 0)


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        (JobState.queued, "wait for its end"),
        (JobState.paused, "resume it instead"),
        (JobState.canceled, "submit it again instead"),
        (JobState.succeeded, "nothing to try again"),
        (JobState.succeeded_with_gaps, "have it repaired instead"),
    ],
)
def test_a_job_that_has_not_failed_is_told_what_to_do_instead(store: Store, state: JobState, advice: str) -> None:
    submit(store)
    if state is JobState.paused:
        store.pause("t/j1")
    elif state is JobState.canceled:
        store.cancel("t/j1")
    elif state is not JobState.queued:
        store.end_job(claim(store, "ingest:t/j1"), "t/j1", state, error=None, exports=[])
    with pytest.raises(Conflict, match=f"the job is {state}; .*{advice}"):
        store.retry("t/j1")
    assert store.job("t/j1").retries == 0


def test_a_retry_whose_answer_got_lost_happens_once(store: Store) -> None:
    submit(store)
    fail(store, "ingest:t/j1", "t/j1")
    first, again = (store._scripts["retry"](args=["t/j1", "request", 3000]) for _ in range(2))
    assert (first[0], again[0], first[2]) == (b"ok", b"ok", again[2])
    assert store.job("t/j1").retries == 1
