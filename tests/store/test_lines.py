"""What is done first, whose turn it is, what has to wait and for what, and for how long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cvpipe.job import JobState
from cvpipe.store import Store, WorkerState
from tests.store.test_store import FRAMES_ONLY, TWO_OF_FRAMES, claim, make_doc, submit


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def post(store: Store, job: str, *, priority: int = 4, **doc: object) -> str:
    store.submit(job, make_doc(**doc), priority=priority, idempotency_key=None, digest="d")
    return job


def plan(store: Store, job: str, chunks: int = 2) -> None:
    spans = [(10 * n, 10 * n + 10, 1000 * n) for n in range(chunks)]
    store.plan(
        claim(store, f"ingest:{job}"), job, segments=FRAMES_ONLY, chunks=spans, frames_total=10 * chunks, video="t/v",
        models={},
    )  # fmt: skip


def taken(store: Store, queue: str, times: int = 100) -> list[str]:
    """The tasks of a queue in the order in which workers get them."""
    found = []
    while len(found) < times and (got := store.take(queue, lease_seconds=30)) is not None:
        found.append(got.task)
    return found


def waiting(store: Store, job: str) -> str | None:
    return store.job(job).progress.waiting


def test_the_most_urgent_comes_first_whatever_was_rung_for(store: Store) -> None:
    for job, priority in (("t/a", 0), ("t/b", 9), ("t/c", 4), ("t/d", 5)):
        post(store, job, priority=priority)
    got = store.take("", rung_for="ingest:t/a", lease_seconds=30)
    assert got is not None
    assert got.task == "ingest:t/b"
    assert taken(store, "ingest") == ["ingest:t/d", "ingest:t/c", "ingest:t/a"]


def test_jobs_of_one_tenant_go_one_after_another_and_chunks_in_order(store: Store) -> None:
    for job in ("t/first", "t/then"):
        post(store, job)
        store.client.hset(f"cvpipe:job:{job}", "created_at", 1_700_000_000_000 + (job == "t/then"))
        plan(store, job, chunks=12)
    expected = [f"chunk:{job}:0:{n}" for job in ("t/first", "t/then") for n in range(12)]
    assert taken(store, "cpu") == expected


def test_tenants_take_turns_however_many_jobs_each_has(store: Store) -> None:
    for job in ("many/1", "many/2", "many/3", "few/1"):
        post(store, job)
        plan(store, job, chunks=4)
    first = [task.split(":")[1].split("/")[0] for task in taken(store, "cpu", 8)]
    assert sorted(first) == ["few"] * 4 + ["many"] * 4
    assert taken(store, "cpu") == [f"chunk:many/{job}:0:{n}" for job in (2, 3) for n in range(4)]


def test_who_comes_late_has_saved_no_turns_up(store: Store) -> None:
    post(store, "early/1")
    plan(store, "early/1", chunks=40)
    assert len(taken(store, "cpu", 20)) == 20
    post(store, "late/1")
    plan(store, "late/1", chunks=10)
    tenants = [task.split(":")[1].split("/")[0] for task in taken(store, "cpu", 10)]
    assert 4 <= tenants.count("late") <= 6


def test_a_turn_of_the_less_urgent_comes_when_nothing_else_is_left(store: Store) -> None:
    post(store, "a/1", priority=4)
    plan(store, "a/1", chunks=3)
    post(store, "b/1", priority=5)
    plan(store, "b/1", chunks=3)
    assert [task.split(":")[1] for task in taken(store, "cpu")] == ["b/1"] * 3 + ["a/1"] * 3


def test_an_answer_that_got_lost_hands_out_one_task(store: Store) -> None:
    post(store, "t/a")
    post(store, "t/b")
    first, again = (store._scripts["take"](args=["ingest", "", "token", 30_000]) for _ in range(2))
    assert first == again
    assert len(taken(store, "ingest")) == 1


def test_a_lease_that_ran_out_stands_in_line_again_once_the_sweeper_saw_it(store: Store) -> None:
    submit(store)
    claim(store, "ingest:t/j1", lease_seconds=0)
    assert store.take("ingest", lease_seconds=30) is None
    store.sweep(limit=10, ring_again_seconds=5)
    got = store.take("ingest", lease_seconds=30)
    assert got is not None
    assert (got.crashes, got.attempts) == (1, 2)


def test_a_retry_stands_in_line_when_its_time_has_come(store: Store) -> None:
    submit(store)
    store.release(claim(store, "ingest:t/j1"), delay_seconds=60, failed=True)
    assert store.take("ingest", lease_seconds=30) is None
    store.put_worker(WorkerState("w", ["ingest"], None), keep_seconds=30)
    assert waiting(store, "t/j1") == "a retry on `ingest`, in 60 s"
    store.client.hset("cvpipe:task:ingest:t/j1", "not_before", 0)
    store.client.zadd("cvpipe:due", {"ingest:t/j1": 0})
    store.sweep(limit=10, ring_again_seconds=5)
    assert taken(store, "ingest") == ["ingest:t/j1"]


def test_a_job_says_how_many_are_ahead_of_it_and_who_is_missing(store: Store) -> None:
    for job, priority in (("t/a", 4), ("t/b", 4), ("u/c", 9)):
        post(store, job, priority=priority)
    assert waiting(store, "t/a") == "no worker listens to `ingest`"
    store.put_worker(WorkerState("w", ["ingest", "cpu"], None), keep_seconds=30)
    assert [waiting(store, job) for job in ("u/c", "t/a", "t/b")] == [
        "a free worker on `ingest`", "1 job ahead on `ingest`", "2 jobs ahead on `ingest`",
    ]  # fmt: skip
    store.take("ingest", lease_seconds=30)
    assert [waiting(store, job) for job in ("u/c", "t/a")] == [None, "a free worker on `ingest`"]
    plan(store, "t/a")
    assert store.job("t/a").state == JobState.running
    assert waiting(store, "t/a") == "a free worker on `cpu`"
    claim(store, "chunk:t/a:0:1")
    assert waiting(store, "t/a") is None


def test_a_queue_that_nobody_listens_to_is_named(store: Store) -> None:
    job = post(store, "t/a")
    store.put_worker(WorkerState("w", ["ingest", "cpu", "finish"], None), keep_seconds=30)
    store.plan(
        claim(store, f"ingest:{job}"), job, segments=TWO_OF_FRAMES, chunks=[(0, 10, 0)], frames_total=10, video="t/v",
        models={},
    )  # fmt: skip
    store.finish_chunk(claim(store, f"chunk:{job}:0:0"), job, 0, 0)
    assert waiting(store, job) == "no worker listens to `gpu-b`"


def test_a_tenant_has_as_many_jobs_at_work_as_are_allowed_and_others_follow(store: Store) -> None:
    store.put_max_running(1)
    for job, priority in (("t/a", 4), ("t/b", 4), ("t/c", 9), ("u/d", 4)):
        post(store, job, priority=priority)
    assert sorted(taken(store, "ingest")) == ["ingest:t/a", "ingest:u/d"]
    assert waiting(store, "t/b") == "1 job of the same tenant, as many as may be at work at once"
    assert store.claim("ingest:t/b", lease_seconds=30) == "paused"
    assert [ring.task for ring in store.pause("t/a")] == ["ingest:t/c"]
    assert taken(store, "ingest") == ["ingest:t/c"]
    assert store.resume("t/a") == []
    store.cancel("t/c")
    store.client.zadd("cvpipe:due", {"clock:t/c": 0})
    # The oldest of those that wait, which is the one that was paused.
    assert [ring.task for ring in store.sweep(limit=10, ring_again_seconds=5)] == ["ingest:t/a"]
    store.put_max_running(None)
    assert [ring.task for ring in store.sweep(limit=10, ring_again_seconds=5)] == ["ingest:t/b"]


def test_a_job_that_runs_too_long_fails_and_pauses_do_not_count(store: Store) -> None:
    job = post(store, "t/a", timeout_seconds=60)
    plan(store, job)
    held = claim(store, f"chunk:{job}:0:0")
    store.client.hincrby(f"cvpipe:job:{job}", "running_since", -50_000)
    store.pause(job)
    assert store.client.zscore("cvpipe:due", f"clock:{job}") is None
    store.resume(job)
    held = claim(store, f"chunk:{job}:0:0")
    seconds, _ = store.client.time()  # type: ignore[misc]
    clock = store.client.zscore("cvpipe:due", f"clock:{job}")
    assert float(clock) / 1000 - seconds == pytest.approx(10, abs=2)  # type: ignore[arg-type]
    store.client.zadd("cvpipe:due", {f"clock:{job}": 0})
    store.sweep(limit=10, ring_again_seconds=5)
    shown = store.job(job)
    assert shown.state == JobState.failed
    assert shown.error is not None
    assert (shown.error.code, shown.error.message) == (
        "timed_out", "the job ran for longer than its timeout_seconds, 60; a retry goes on from what is done",
    )  # fmt: skip
    assert not store.holds(held)
    assert sorted(ring.task for ring in store.retry(job)) == [f"chunk:{job}:0:0", f"chunk:{job}:0:1"]
    claim(store, f"chunk:{job}:0:0")
    clock = store.client.zscore("cvpipe:due", f"clock:{job}")
    seconds, _ = store.client.time()  # type: ignore[misc]
    assert float(clock) / 1000 - seconds == pytest.approx(60, abs=2)  # type: ignore[arg-type]
