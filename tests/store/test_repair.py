"""A repair: what of a job is done again, what stays, and what comes back when it is canceled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cvpipe.errors import Conflict, LeaseLost, NotFound
from cvpipe.gaps import Gap
from cvpipe.job import JobError, JobState
from cvpipe.store import Store
from tests.store.test_store import (
    FRAMES_ONLY,
    IN_ORDER,
    TWO_OF_FRAMES,
    WITH_SEQUENCE,
    claim,
    make_record,
    planned,
    run_chunk,
    submit,
)

GAP = Gap(first=13, last=13, start=1.3, stop=1.3, frames=1, status="decode_error", error="media_unreadable")
DAMAGED = JobError(code="frames_damaged", message="1 frame could not be decoded")


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def run_damaged(store: Store, job: str, segment: int, chunk: int, *damaged: int, stream: bool = True) -> list[str]:
    """Do a chunk's task; some of its frames can't be decoded."""
    held = claim(store, f"chunk:{job}:{segment}:{chunk}")
    records = [
        make_record(n, status="decode_error" if n in damaged else "ok") for n in range(10 * chunk, 10 * chunk + 10)
    ]
    store.append(held, job, (segment, chunk) if stream else None, records, lease_seconds=30, counted=segment == 0)
    state = None if stream else {"last": chunk}
    return [ring.task for ring in store.finish_chunk(held, job, segment, chunk, state=state)]


def end(store: Store, job: str, state: JobState = JobState.succeeded_with_gaps) -> None:
    with_gaps = state is not JobState.succeeded
    store.end_job(
        claim(store, f"finish:{job}"), job, state, error=DAMAGED if with_gaps else None, exports=["frames.ndjson"],
        gaps=[GAP] if with_gaps else [], summary={"gate": {"skipped": 3}},
    )  # fmt: skip


def with_gaps(store: Store, segments: list[dict[str, Any]] = FRAMES_ONLY, **doc: Any) -> str:
    """A job of three chunks that ended; frame 13, in the middle one, is damaged."""
    job = planned(store, segments, chunks=3, **doc)
    for chunk in range(3):
        run_damaged(store, job, 0, chunk, 13)
    if segments is WITH_SEQUENCE:
        for chunk in range(3):
            run_damaged(store, job, 1, chunk, 13, stream=False)
    elif len(segments) == 2:
        for chunk in range(3):
            run_damaged(store, job, 1, chunk, 13)
    end(store, job)
    return job


def statuses(store: Store, job: str) -> list[tuple[int, str]]:
    return [(record.frame, record.status) for _, record in store.frames(job)[0] if record.status != "ok"]


def kinds(store: Store, job: str) -> list[str]:
    return [event["type"] for _, event in store.events(job) if event["type"] != "progress"]


def test_an_ended_job_tells_its_gaps_and_what_its_stages_say(store: Store) -> None:
    job = store.job(with_gaps(store))
    assert (job.gaps, job.gaps_total, job.summary) == ([GAP], 1, {"gate": {"skipped": 3}})
    listed = store.jobs("t")[0][0]
    assert (listed.gaps, listed.gaps_total) == ([], 1)


def test_only_the_chunk_with_a_gap_is_done_again(store: Store) -> None:
    job = with_gaps(store)
    assert [(ring.task, ring.queue) for ring in store.repair(job)] == [(f"chunk:{job}:0:1", "cpu")]
    assert [store.claim(f"chunk:{job}:0:{n}", lease_seconds=30) for n in (0, 2)] == ["gone", "gone"]
    assert [record.frame for record in store.old_records(job, 0, 1)] == list(range(10, 20))
    shown = store.job(job)
    assert (shown.state, shown.repairs, shown.error, shown.finished_at) == (JobState.queued, 1, None, None)
    assert (shown.progress.frames_done, shown.progress.chunks_done, shown.progress.chunks_failed) == (20, 2, 0)
    assert run_damaged(store, job, 0, 1) == [f"finish:{job}"]
    assert store.old_records(job, 0, 1) == []
    end(store, job, JobState.succeeded)
    page, complete = store.frames(job)
    assert ([record.frame for _, record in page], complete) == (list(range(30)), True)
    assert statuses(store, job) == []
    done = store.job(job)
    assert (done.state, done.progress.frames_done, done.error, done.gaps) == (JobState.succeeded, 30, None, [])
    assert kinds(store, job) == [
        "job.queued", "job.running", "job.succeeded_with_gaps", "job.queued", "job.running", "job.succeeded",
    ]  # fmt: skip


def test_readers_wait_at_the_chunk_that_is_done_again(store: Store) -> None:
    job = with_gaps(store)
    store.repair(job)
    page, complete = store.frames(job)
    assert ([record.frame for _, record in page], complete) == (list(range(10)), False)


def test_a_repair_that_finds_the_same_gap_can_be_repeated(store: Store) -> None:
    job = with_gaps(store)
    for _ in range(2):
        store.repair(job)
        run_damaged(store, job, 0, 1, 13)
        end(store, job)
        assert statuses(store, job) == [(13, "decode_error")]
    assert (store.job(job).state, store.job(job).repairs) == (JobState.succeeded_with_gaps, 2)


def test_a_sequence_runs_anew_over_all_records_from_a_fresh_state(store: Store) -> None:
    job = with_gaps(store, WITH_SEQUENCE)
    assert store.sequence_state(job, 1) == {"last": 2}
    rings = store.repair(job)
    assert sorted(ring.task for ring in rings) == [f"chunk:{job}:0:1", f"chunk:{job}:1:0"]
    assert store.sequence_state(job, 1) is None
    assert store.frames(job) == ([], False)
    assert [record.frame for record in store.chunk_records(job, 0, 0)] == list(range(10))
    assert run_damaged(store, job, 1, 0, stream=False) == []  # its follower's frames are not there yet
    assert run_damaged(store, job, 0, 1) == [f"chunk:{job}:1:1"]
    assert run_damaged(store, job, 1, 1, stream=False) == [f"chunk:{job}:1:2"]
    assert run_damaged(store, job, 1, 2, stream=False) == [f"finish:{job}"]
    end(store, job, JobState.succeeded)
    assert [record.frame for _, record in store.frames(job)[0]] == list(range(30))
    assert statuses(store, job) == []
    assert store.client.keys("cvpipe:*:old") == []
    assert store.client.keys("cvpipe:*:c:*") == []


def test_a_chunk_of_two_frames_segments_goes_through_both_again(store: Store) -> None:
    job = with_gaps(store, TWO_OF_FRAMES)
    assert [ring.task for ring in store.repair(job)] == [f"chunk:{job}:0:1"]
    assert [record.status for record in store.old_records(job, 1, 1)].count("decode_error") == 1
    assert run_damaged(store, job, 0, 1) == [f"chunk:{job}:1:1"]
    assert len(store.old_records(job, 1, 1)) == 10
    assert run_damaged(store, job, 1, 1) == [f"finish:{job}"]
    assert store.old_records(job, 1, 1) == []


@pytest.mark.parametrize("segments", [IN_ORDER, [*FRAMES_ONLY, *IN_ORDER]], ids=["first", "second"])
def test_frames_in_order_are_repaired_over_all_chunks_from_a_fresh_state(
    store: Store, segments: list[dict[str, Any]]
) -> None:
    job = with_gaps(store, segments)
    last = len(segments) - 1
    rings = store.repair(job)
    first = [f"chunk:{job}:0:0"] if last == 0 else [f"chunk:{job}:0:{c}" for c in range(3)]
    assert sorted(ring.task for ring in rings) == first
    assert store.sequence_state(job, last) is None
    assert [len(store.old_records(job, last, chunk)) for chunk in range(3)] == [10, 10, 10]
    assert store.job(job).progress.frames_done == 0
    before = store.job(job)
    store.cancel(job)
    assert [record.frame for _, record in store.frames(job)[0]] == list(range(30))
    assert (store.job(job).state, before.state) == (JobState.succeeded_with_gaps, JobState.queued)
    store.repair(job)
    for chunk in range(3):
        for segment in range(last + 1):
            told = run_damaged(store, job, segment, chunk)
    assert told == [f"finish:{job}"]
    end(store, job, JobState.succeeded)
    assert statuses(store, job) == []
    assert store.client.keys("cvpipe:*:old") == []


def test_chunks_that_were_given_up_make_a_failed_job_repairable(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=2)
    for chunk in range(2):
        held = claim(store, f"chunk:{job}:0:{chunk}")
        records = [make_record(n, status="failed") for n in range(10 * chunk, 10 * chunk + 10)]
        store.append(held, job, (0, chunk), records, lease_seconds=30, counted=True)
        store.finish_chunk(held, job, 0, chunk, failed=JobError(code="worker_crashed", message="x"))
    end(store, job, JobState.failed)
    assert [ring.task for ring in store.repair(job)] == [f"chunk:{job}:0:0", f"chunk:{job}:0:1"]
    assert store.job(job).progress.chunks_failed == 0


@pytest.mark.parametrize("segments", [FRAMES_ONLY, WITH_SEQUENCE], ids=["frames", "sequence"])
@pytest.mark.parametrize("begun", [False, True], ids=["queued", "running"])
def test_a_repair_that_is_canceled_leaves_the_job_as_it_was(
    store: Store, segments: list[dict[str, Any]], begun: bool
) -> None:
    job = with_gaps(store, segments)
    before = store.frames(job)
    store.repair(job)
    if begun:
        held = claim(store, f"chunk:{job}:0:1")
        store.append(held, job, (0, 1), [make_record(10)], lease_seconds=30, counted=True)
    store.cancel(job)
    if begun:
        with pytest.raises(LeaseLost):
            store.append(held, job, (0, 1), [make_record(11)], lease_seconds=30, counted=True)
        store.leave(held)
    shown = store.job(job)
    assert (shown.state, shown.error, shown.gaps) == (JobState.succeeded_with_gaps, DAMAGED, [GAP])
    assert (shown.progress.frames_done, shown.progress.chunks_done) == (30, 3)
    assert store.frames(job) == before
    assert store.client.keys("cvpipe:*:old") == []
    assert len(store.repair(job)) == (1 if segments is FRAMES_ONLY else 2)


def test_a_sequence_that_is_canceled_in_mid_repair_keeps_the_records_it_had(store: Store) -> None:
    job = with_gaps(store, WITH_SEQUENCE)
    before = store.frames(job)
    store.repair(job)
    run_damaged(store, job, 0, 1)
    run_damaged(store, job, 1, 0, stream=False)
    store.cancel(job)
    assert store.frames(job) == before
    store.repair(job)  # its chunk was mended, but the records that are shown were not
    run_damaged(store, job, 0, 1)
    for chunk in range(3):
        run_damaged(store, job, 1, chunk, stream=False)
    end(store, job, JobState.succeeded)
    assert statuses(store, job) == []


@pytest.mark.parametrize("state", [JobState.succeeded, JobState.canceled, JobState.queued, JobState.running])
def test_other_jobs_are_not_repaired_and_the_state_is_told(store: Store, state: JobState) -> None:
    job = submit(store) if state is JobState.queued else planned(store, FRAMES_ONLY, chunks=1)
    if state is JobState.canceled:
        store.cancel(job)
    if state is JobState.succeeded:
        run_chunk(store, job, 0, 0)
        end(store, job, state)
    with pytest.raises(Conflict, match=f"the job is {state}"):
        store.repair(job)
    assert store.job(job).state == state


def test_a_paused_job_is_to_be_resumed_before_it_is_repaired(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=1)
    store.pause(job)
    with pytest.raises(Conflict, match="the job is paused; only a job that ended with gaps .* resume it"):
        store.repair(job)


def test_a_job_that_failed_without_a_chunk_that_could_be_tried_again_is_not_repaired(store: Store) -> None:
    submit(store)
    store.end_job(claim(store, "ingest:t/j1"), "t/j1", JobState.failed, error=DAMAGED, exports=[])
    with pytest.raises(Conflict, match="none of its chunks"):
        store.repair("t/j1")
    with pytest.raises(NotFound):
        store.repair("t/j2")


def test_a_repair_whose_answer_got_lost_happens_once(store: Store) -> None:
    job = with_gaps(store)
    first, again = (store._scripts["repair"](args=[job, "request", 3000]) for _ in range(2))
    assert (first[0], again[0]) == (b"ok", b"ok")
    assert first[2] == again[2]
    assert store.job(job).repairs == 1


def test_a_worker_that_dies_in_a_repair_is_followed_by_one_that_goes_on(store: Store) -> None:
    job = with_gaps(store)
    store.repair(job)
    dead = claim(store, f"chunk:{job}:0:1", lease_seconds=0)
    store.append(dead, job, (0, 1), [make_record(n) for n in range(10, 14)], lease_seconds=0, counted=True)
    assert [ring.task for ring in store.sweep(limit=10, ring_again_seconds=5)] == [f"chunk:{job}:0:1"]
    assert store.last_frame(job, 0, 1) == 13
    assert len(store.old_records(job, 0, 1)) == 10
    assert run_damaged(store, job, 0, 1) == [f"finish:{job}"]
    assert store.job(job).progress.frames_done == 30


def test_the_end_before_is_not_told_of_any_more(store: Store) -> None:
    job = with_gaps(store, webhook=True)
    assert store.claim(f"notify:{job}:1", lease_seconds=30) not in ("gone", "busy")
    store.repair(job)
    assert store.claim(f"notify:{job}:1", lease_seconds=30) == "gone"
    run_damaged(store, job, 0, 1)
    end(store, job, JobState.succeeded)
    claim(store, f"notify:{job}:2")
    messages = store.delivery_log(job).messages
    assert [(m.event, m.state) for m in messages] == [
        ("job.succeeded_with_gaps", "withdrawn"),
        ("job.succeeded", "pending"),
    ]


def test_a_job_deleted_after_a_repair_leaves_nothing(store: Store) -> None:
    job = with_gaps(store, WITH_SEQUENCE)
    store.repair(job)
    store.cancel(job)
    store.delete_job(job)
    assert store.client.keys("cvpipe:*") == []
