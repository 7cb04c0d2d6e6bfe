"""How a job goes on once its records are whole: crops are chosen, made chunk by chunk, and put to the vote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cvpipe.errors import LeaseLost, NotFound
from cvpipe.job import JobError, JobState
from cvpipe.picks import Pick, Shot
from cvpipe.store import Store
from cvpipe.tracks import CropRecord, TrackRecord
from tests.store.test_store import FRAMES_ONLY, WITH_SEQUENCE, claim, make_record, planned

CROPS = [{"kind": kind, "queue": "crops", "stages": [2]} for kind in ("picks", "crops", "tracks")]
ALL = [*WITH_SEQUENCE, *CROPS]
NO_SEQUENCE = [*FRAMES_ONLY, *CROPS]


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def make_pick(frame: int) -> Pick:
    return Pick("best", (Shot(make_record(frame), 0, 0.5),))


def make_crop(frame: int) -> CropRecord:
    found = make_record(frame).objects.to_dicts()[0]
    return CropRecord("best", frame, frame / 10, 0, 0.25, (32, 24), found)


def make_track(number: int) -> TrackRecord:
    at = {"frame": number, "time": number / 10}
    return TrackRecord("people", number, "person", 0.5, 3, at, at)


def do(store: Store, job: str, segment: int, chunk: int, **outcome: Any) -> list[str]:
    """Claim a task and finish it; returns the tasks that are rung for."""
    held = claim(store, f"chunk:{job}:{segment}:{chunk}")
    return [ring.task for ring in store.finish_chunk(held, job, segment, chunk, **outcome)]


def whole_records(store: Store, segments: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """A job of three chunks, all its records there; and what the last one rang for."""
    job = planned(store, segments, chunks=3)
    rung: list[str] = []
    for segment in range(len(segments) - 3):
        for chunk in range(3):
            rung = do(store, job, segment, chunk)
    return job, rung


def pick(store: Store, job: str, segment: int, picks: dict[int, list[Pick]]) -> list[str]:
    held = claim(store, f"chunk:{job}:{segment}:0")
    store.keep_picks(held, job, segment + 1, picks, lease_seconds=30)
    return [ring.task for ring in store.finish_chunk(held, job, segment, 0, state={"rows": []})]


@pytest.mark.parametrize(("segments", "first"), [(ALL, 2), (NO_SEQUENCE, 1)], ids=["tracked", "untracked"])
def test_only_chunks_with_something_to_cut_out_get_a_task(
    store: Store, segments: list[dict[str, Any]], first: int
) -> None:
    job, rung = whole_records(store, segments)
    assert rung == [f"chunk:{job}:{first}:0"]
    assert store.job(job).progress.chunks_done == 3
    rung = pick(store, job, first, {0: [make_pick(3)], 2: [make_pick(21), make_pick(25)]})
    assert rung == [f"chunk:{job}:{first + 1}:0", f"chunk:{job}:{first + 1}:2"]
    assert store.sequence_state(job, first) == {"rows": []}
    assert [p.first for p in store.picks(job, first + 1, 2)] == [21, 25]
    assert store.picks(job, first + 1, 1) == []
    assert do(store, job, first + 1, 2) == []
    assert do(store, job, first + 1, 0) == [f"chunk:{job}:{first + 2}:0"]
    assert do(store, job, first + 2, 0) == [f"finish:{job}"]


def test_nothing_to_cut_out_is_put_to_the_vote_at_once(store: Store) -> None:
    job, _ = whole_records(store, ALL)
    assert pick(store, job, 2, {}) == [f"chunk:{job}:4:0"]


def test_records_can_be_read_while_crops_are_made(store: Store) -> None:
    job = planned(store, NO_SEQUENCE, chunks=1)
    held = claim(store, f"chunk:{job}:0:0")
    store.append(held, job, (0, 0), [make_record(n) for n in range(10)], lease_seconds=30, counted=True)
    store.finish_chunk(held, job, 0, 0)
    pick(store, job, 1, {0: [make_pick(3)]})
    records, _ = store.frames(job)
    assert [record.frame for _, record in records] == list(range(10))


def test_a_crop_that_comes_twice_is_kept_once_and_a_crash_is_gone_on_from(store: Store) -> None:
    job, _ = whole_records(store, ALL)
    pick(store, job, 2, {0: [make_pick(n) for n in range(4)]})
    held = claim(store, f"chunk:{job}:3:0")
    assert store.crops_done(job, 3, 0) == 0
    store.append_crops(held, job, 3, 0, {0: make_crop(0), 2: make_crop(2)}, lease_seconds=30)
    store.append_crops(held, job, 3, 0, {2: make_crop(2), 3: make_crop(3)}, lease_seconds=30)
    assert store.crops_done(job, 3, 0) == 4
    assert [crop.frame for crop in store.crops(job, 3, 0)] == [0, 2, 3]
    assert store.crops(job, 3, 0)[1] == make_crop(2)


def test_who_lost_its_lease_writes_nothing(store: Store) -> None:
    job, _ = whole_records(store, ALL)
    stale = claim(store, f"chunk:{job}:2:0")
    store.release(stale)
    pick(store, job, 2, {0: [make_pick(1)]})
    with pytest.raises(LeaseLost):
        store.keep_picks(stale, job, 3, {1: [make_pick(11)]}, lease_seconds=30)
    with pytest.raises(LeaseLost):
        store.append_crops(stale, job, 3, 0, {0: make_crop(1)}, lease_seconds=30)
    with pytest.raises(LeaseLost):
        store.append_tracks(stale, job, 0, [make_track(1)], lease_seconds=30)
    assert (store.picks(job, 3, 1), store.crops(job, 3, 0), store.tracks(job)) == ([], [], ([], True))


def ended(store: Store, state: JobState = JobState.succeeded, *, failed: JobError | None = None) -> str:
    """A job with two tracks that has ended; failed: why a chunk of crops was given up."""
    job, _ = whole_records(store, ALL)
    pick(store, job, 2, {1: [make_pick(11)]})
    do(store, job, 3, 1, failed=failed)
    held = claim(store, f"chunk:{job}:4:0")
    store.append_tracks(held, job, 0, [make_track(1), make_track(2)], lease_seconds=30)
    store.finish_chunk(held, job, 4, 0)
    store.end_job(claim(store, f"finish:{job}"), job, state, error=failed, exports=[])
    return job


def test_tracks_are_read_by_pages_and_stay_when_all_else_of_the_crops_goes(store: Store) -> None:
    job = ended(store)
    assert store.tracks(job, limit=1) == ([make_track(1)], False)
    assert store.tracks(job, after=1, limit=1) == ([make_track(2)], True)
    left = {key.decode() for key in store.client.keys(f"cvpipe:job:{job}*")}
    assert [key for key in left if key.endswith((":picks:3:1", ":c:3:1", ":state:2"))] == []
    store.delete_job(job)
    assert store.client.keys(f"cvpipe:job:{job}*") == []
    with pytest.raises(NotFound):
        store.tracks(job)


def test_crops_that_were_given_up_are_made_anew_by_a_repair(store: Store) -> None:
    broken = JobError(code="stage_failed", message="no")
    job = ended(store, JobState.succeeded_with_gaps, failed=broken)
    assert store.job(job).progress.chunks_failed == 0
    assert [ring.task for ring in store.repair(job)] == [f"chunk:{job}:0:1", f"chunk:{job}:1:0"]
    assert store.tracks(job) == ([], True)
    do(store, job, 0, 1)
    for chunk in range(3):
        rung = do(store, job, 1, chunk)
    assert rung == [f"chunk:{job}:2:0"]
    assert pick(store, job, 2, {0: [make_pick(1)]}) == [f"chunk:{job}:3:0"]
    assert do(store, job, 3, 0) == [f"chunk:{job}:4:0"]
    held = claim(store, f"chunk:{job}:4:0")
    store.append_tracks(held, job, 0, [make_track(7)], lease_seconds=30)
    assert [ring.task for ring in store.finish_chunk(held, job, 4, 0)] == [f"finish:{job}"]
    store.end_job(claim(store, f"finish:{job}"), job, JobState.succeeded, error=None, exports=[])
    assert store.tracks(job) == ([make_track(7)], True)


def test_a_repair_that_is_canceled_among_the_crops_leaves_the_tracks_as_they_were(store: Store) -> None:
    job = ended(store, JobState.succeeded_with_gaps, failed=JobError(code="stage_failed", message="no"))
    store.repair(job)
    do(store, job, 0, 1)
    for chunk in range(3):
        do(store, job, 1, chunk)
    pick(store, job, 2, {0: [make_pick(1)]})
    store.cancel(job)
    assert store.job(job).state == "succeeded_with_gaps"
    assert store.tracks(job) == ([make_track(1), make_track(2)], True)


def test_a_job_that_failed_among_its_crops_makes_them_anew_when_it_is_tried_again(store: Store) -> None:
    job, _ = whole_records(store, ALL)
    pick(store, job, 2, {0: [make_pick(1)], 1: [make_pick(11)]})
    do(store, job, 3, 0)
    held = claim(store, f"chunk:{job}:3:1")
    store.end_job(held, job, JobState.failed, error=JobError(code="internal", message="no"), exports=[])
    assert [ring.task for ring in store.retry(job)] == [f"chunk:{job}:2:0"]
    assert pick(store, job, 2, {1: [make_pick(11)]}) == [f"chunk:{job}:3:1"]
    assert do(store, job, 3, 1) == [f"chunk:{job}:4:0"]
    assert do(store, job, 4, 0) == [f"finish:{job}"]


def test_a_job_that_failed_at_its_end_keeps_its_crops_when_it_is_tried_again(store: Store) -> None:
    job, _ = whole_records(store, ALL)
    pick(store, job, 2, {0: [make_pick(1)]})
    held = claim(store, f"chunk:{job}:3:0")
    store.append_crops(held, job, 3, 0, {0: make_crop(1)}, lease_seconds=30)
    store.finish_chunk(held, job, 3, 0)
    do(store, job, 4, 0)
    why = JobError(code="internal", message="the disk is full")
    store.end_job(claim(store, f"finish:{job}"), job, JobState.failed, error=why, exports=[])
    assert [ring.task for ring in store.retry(job)] == [f"finish:{job}"]
    assert store.crops(job, 3, 0) == [make_crop(1)]


def test_a_paused_job_goes_on_among_its_crops(store: Store) -> None:
    job, _ = whole_records(store, ALL)
    pick(store, job, 2, {0: [make_pick(1)], 1: [make_pick(11)]})
    held = claim(store, f"chunk:{job}:3:0")
    store.pause(job)
    with pytest.raises(LeaseLost):
        store.append_crops(held, job, 3, 0, {0: make_crop(1)}, lease_seconds=30)
    assert sorted(ring.task for ring in store.resume(job)) == [f"chunk:{job}:3:0", f"chunk:{job}:3:1"]
    do(store, job, 3, 0)
    assert do(store, job, 3, 1) == [f"chunk:{job}:4:0"]
