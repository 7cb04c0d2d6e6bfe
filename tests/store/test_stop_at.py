"""A job that has seen enough: its plan ends with a frame, whoever says so first, last or twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest

from cvpipe.errors import Conflict, LeaseLost
from cvpipe.job import JobError, JobState, Stopped
from cvpipe.store import Claim, Store
from tests.store.test_store import FRAMES_ONLY, WITH_SEQUENCE, claim, make_record, planned, run_chunk

CONDITION = "frame >= 13"


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def stop_at(store: Store, held: Claim, job: str, frame: int) -> None:
    stopped = Stopped(frame=frame, time=frame / 10, condition=CONDITION)
    store.stop_at(held, job, frame // 10, stopped, frames_total=frame + 1, lease_seconds=30)


def stop_in_chunk(store: Store, job: str, frame: int, *, segment: int = 0) -> list[str]:
    """Do the chunk's task up to a frame, with which the job has seen enough; returns the tasks that follow."""
    chunk = frame // 10
    held = claim(store, f"chunk:{job}:{segment}:{chunk}")
    stop_at(store, held, job, frame)
    records = [make_record(n) for n in range(10 * chunk, frame + 1)]
    stream = None if segment else (0, chunk)
    store.append(held, job, stream, records, lease_seconds=30, counted=segment == 0)
    state = {"last": chunk} if segment else None
    return [ring.task for ring in store.finish_chunk(held, job, segment, chunk, state=state)]


def frames(store: Store, job: str) -> list[int]:
    return [record.frame for _, record in store.frames(job)[0]]


@pytest.mark.parametrize("order", [list(order) for order in permutations(range(4))])
def test_whatever_the_order_of_chunks_the_records_end_with_the_first_frame(store: Store, order: list[int]) -> None:
    """Of four chunks the second and the third say that it is enough: at 13 and at 27."""
    job = planned(store, FRAMES_ONLY, chunks=4, stop_when=CONDITION)
    least = 0.0
    for chunk in order:
        frame = {1: 13, 2: 27}.get(chunk)
        if chunk >= store.job_plan(job).chunks[-1][1] / 10:  # it is behind the end
            assert store.claim(f"chunk:{job}:0:{chunk}", lease_seconds=30) == "gone"
        elif frame is None:
            run_chunk(store, job, 0, chunk)
        else:
            stop_in_chunk(store, job, frame)
        shown = store.job(job).progress
        assert least <= shown.fraction <= 1
        least = shown.fraction
    job_now = store.job(job)
    assert frames(store, job) == list(range(14))
    assert job_now.stopped == Stopped(frame=13, time=1.3, condition=CONDITION)
    assert (job_now.progress.frames_done, job_now.progress.frames_total, job_now.progress.chunks_total) == (14, 14, 2)
    assert isinstance(store.claim(f"finish:{job}", lease_seconds=30), Claim)
    assert store.job_plan(job).chunks == [(0, 10, 0), (10, 14, 1000)]


def test_who_works_behind_the_end_can_write_no_more(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3, stop_when=CONDITION)
    behind = claim(store, f"chunk:{job}:0:2")
    store.append(behind, job, (0, 2), [make_record(20, status="failed")], lease_seconds=30, counted=True)
    stop_in_chunk(store, job, 13)
    assert not store.renew(behind, lease_seconds=30)
    with pytest.raises(LeaseLost):
        store.append(behind, job, (0, 2), [make_record(21)], lease_seconds=30, counted=True)
    with pytest.raises(LeaseLost):
        store.finish_chunk(behind, job, 0, 2)
    assert run_chunk(store, job, 0, 0) == [f"finish:{job}"]
    assert frames(store, job) == list(range(14))


def test_a_chunk_that_was_given_up_behind_the_end_counts_no_more(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3, stop_when=CONDITION)
    held = claim(store, f"chunk:{job}:0:2")
    store.finish_chunk(held, job, 0, 2, failed=JobError(code="internal", message="x"))
    assert store.job(job).progress.chunks_failed == 1
    stop_in_chunk(store, job, 13)
    assert store.job(job).progress.chunks_failed == 0


def test_a_sequence_ends_there_and_said_twice_it_is_the_same(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE, chunks=4, stop_when=CONDITION)
    for chunk in range(4):
        run_chunk(store, job, 0, chunk)
    run_chunk(store, job, 1, 0, stream=False)
    dies = claim(store, f"chunk:{job}:1:1")
    stop_at(store, dies, job, 13)
    before = store.job(job)
    stop_at(store, dies, job, 13)
    assert store.job(job).model_copy(update={"progress": before.progress}) == before
    store.release(dies)
    assert stop_in_chunk(store, job, 13, segment=1) == [f"finish:{job}"]
    assert frames(store, job) == list(range(14))
    assert (store.job(job).progress.frames_done, store.job(job).progress.fraction) == (14, 1.0)


def test_a_worker_that_lost_its_lease_ends_nothing(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=2, stop_when=CONDITION)
    held = claim(store, f"chunk:{job}:0:1")
    store.pause(job)
    with pytest.raises(LeaseLost):
        stop_at(store, held, job, 13)
    assert (store.job(job).stopped, store.job(job).progress.chunks_total) == (None, 2)


def test_a_job_that_may_stop_early_is_not_repaired(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=2, stop_when=CONDITION)
    run_chunk(store, job, 0, 0)
    held = claim(store, f"chunk:{job}:0:1")
    store.append(held, job, (0, 1), [make_record(10, status="failed")], lease_seconds=30, counted=True)
    store.finish_chunk(held, job, 0, 1)
    store.end_job(
        claim(store, f"finish:{job}"), job, JobState.succeeded_with_gaps, error=None, exports=[], gaps_total=1
    )  # fmt: skip
    with pytest.raises(Conflict, match="`stop_when`"):
        store.repair(job)
