"""What a key has taken, as the store counts it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cvpipe.errors import NotFound
from cvpipe.job import JobState
from cvpipe.store import Claim, Store

DOC: dict[str, Any] = {
    "tenant": "t", "video": None, "path": "/v", "pipeline": {}, "priority": 4, "labels": {}, "annotate": False,
    "chunk_seconds": 10, "range": None,
}  # fmt: skip


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def submit(
    store: Store, job: str, *, open_jobs: int | None = None, key: str = "k", idempotency: str | None = None
) -> str:
    _, verdict, _ = store.submit(
        job, DOC, priority=4, idempotency_key=idempotency, digest="d", key=key, open_jobs=open_jobs
    )
    return verdict


def test_a_key_may_make_so_many_requests_at_once_and_then_one_after_another(store: Store) -> None:
    assert [store.take_request("k", 300) for _ in range(300)] == [0] * 300
    wait = next(wait for wait in (store.take_request("k", 300) for _ in range(1000)) if wait)  # some came free again
    assert 0 < wait <= 0.2  # 300 a minute is one each 0.2 s
    time.sleep(wait + 0.01)
    assert store.take_request("k", 300) == 0
    assert store.take_request("other", 300) == 0


def test_one_request_a_minute_is_one_a_minute(store: Store) -> None:
    assert store.take_request("k", 1) == 0
    assert 0 < store.take_request("k", 1) <= 60


def test_a_key_has_so_many_streams_and_no_more_until_one_ends_or_is_forgotten(store: Store) -> None:
    assert store.hold_stream("k", "a", 2, seconds=60)
    assert store.hold_stream("k", "b", 2, seconds=60)
    assert not store.hold_stream("k", "c", 2, seconds=60)
    assert store.hold_stream("k", "a", 2, seconds=60)  # goes on holding it
    assert store.hold_stream("other", "c", 2, seconds=60)
    assert store.hold_stream("k", "b", 2, seconds=0.001)
    assert store.hold_stream("k", "a", 2, seconds=60)
    time.sleep(0.002)  # whoever held b is dead
    assert store.hold_stream("k", "c", 2, seconds=60)
    store.release_stream("k", "a")
    assert store.hold_stream("k", "d", 2, seconds=60)


def test_jobs_that_are_not_over_count_and_those_that_are_do_not(store: Store) -> None:
    assert [submit(store, f"t/j{n}", open_jobs=2) for n in range(3)] == ["new", "new", "full"]
    with pytest.raises(NotFound):
        store.job("t/j2")
    assert submit(store, "t/j2", open_jobs=2, key="other") == "new"
    store.cancel("t/j0")
    assert submit(store, "t/j3", open_jobs=2) == "new"
    assert submit(store, "t/j4", open_jobs=2) == "full"
    assert submit(store, "t/j5") == "new"  # without a limit


def test_a_request_that_was_answered_before_is_answered_again_though_the_key_is_full(store: Store) -> None:
    assert submit(store, "t/j0", open_jobs=1, idempotency="i") == "new"
    assert submit(store, "t/j1", open_jobs=1, idempotency="i") == "same"
    assert submit(store, "t/j2", open_jobs=1, idempotency="another") == "full"
    store.cancel("t/j0")
    assert submit(store, "t/j2", open_jobs=1, idempotency="another") == "new"  # a refusal has not used it up


def test_the_video_of_planned_jobs_counts_for_the_day_once(store: Store) -> None:
    for job in ("t/j0", "t/j1"):
        submit(store, job)
        claim = store.claim(f"ingest:{job}", lease_seconds=30)
        assert isinstance(claim, Claim)
        store.plan(
            claim, job, segments=[{"kind": "frames", "queue": "cpu", "stages": [0]}], chunks=[(0, 10, 0)],
            frames_total=10, video="t/v", models={}, video_seconds=90.5,
        )  # fmt: skip
    assert store.video_seconds_today("k") == pytest.approx(181)
    assert store.video_seconds_today("other") == 0


def test_videos_count_for_the_key_that_sent_them_first_until_they_are_deleted(store: Store) -> None:
    for video, size in (("t/a", 100), ("t/b", 20)):
        store.put_video(video, size=size, state="indexing")
        store.note_sender(video, "k")
        store.note_sender(video, "later")
    assert (store.stored_bytes("k"), store.stored_bytes("later")) == (120, 0)
    store.delete_video("t/a")
    assert store.stored_bytes("k") == 20
    with pytest.raises(NotFound, match="there is no video 'a'"):
        store.delete_video("t/a")


def test_a_job_that_fails_is_over(store: Store) -> None:
    submit(store, "t/j0", open_jobs=1)
    claim = store.claim("ingest:t/j0", lease_seconds=30)
    assert isinstance(claim, Claim)
    store.end_job(claim, "t/j0", JobState.failed, error=None, exports=[])
    assert submit(store, "t/j1", open_jobs=1) == "new"
