"""The protocol of tasks and records, on a real Redis."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cvpipe.errors import Conflict, LeaseLost, NotFound, StoreUnavailable
from cvpipe.job import ENDS, JobError, JobState
from cvpipe.results import FrameRecord, Objects
from cvpipe.store import Claim, Store, WorkerState

FRAMES_ONLY = [{"kind": "frames", "queue": "cpu", "stages": [0]}]
WITH_SEQUENCE = [*FRAMES_ONLY, {"kind": "sequence", "queue": "sequence", "stages": [1]}]
IN_ORDER = [{"kind": "frames", "queue": "cpu", "stages": [0], "in_order": True}]
BEHIND_FRAMES = [*FRAMES_ONLY, {**IN_ORDER[0], "stages": [1]}, {"kind": "frames", "queue": "gpu", "stages": [2]}]
TWO_OF_FRAMES = [*FRAMES_ONLY, {"kind": "frames", "queue": "gpu-b", "stages": [1]}]


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def make_doc(**changes: Any) -> dict[str, Any]:
    return {
        "tenant": "t",
        "video": "t/" + "0" * 64,
        "path": None,
        "pipeline": {"name": "p", "stages": []},
        "range": None,
        "priority": 4,
        "labels": {},
        "webhook_url": None,
        "annotate": False,
        "chunk_seconds": 10,
    } | changes


def make_record(frame: int, *, status: Any = "ok") -> FrameRecord:
    box = [[frame, 0, frame + 10, 20]]
    objects = Objects.make(stage="people", box=box, score=[0.5], label=["person"], class_id=[0])
    return FrameRecord(frame, frame * 512, frame / 10, status, objects)


def submit(
    store: Store,
    job: str = "t/j1",
    *,
    webhook: bool = False,
    events: Sequence[str] = ENDS,
    key: str | None = None,
    digest: str = "d",
    **doc: Any,
) -> str:
    wanted = events if webhook else ()
    job_id, _, _ = store.submit(job, make_doc(**doc), priority=4, webhook=wanted, idempotency_key=key, digest=digest)
    return job_id


def claim(store: Store, task: str, *, lease_seconds: float = 30) -> Claim:
    got = store.claim(task, lease_seconds=lease_seconds)
    assert isinstance(got, Claim), got
    return got


def planned(store: Store, segments: list[dict[str, Any]], chunks: int = 2, **doc: Any) -> str:
    """A job of `chunks` chunks of ten frames each, one second long."""
    job = submit(store, **doc)
    spans = [(10 * n, 10 * n + 10, 1000 * n) for n in range(chunks)]
    store.plan(
        claim(store, f"ingest:{job}"),
        job,
        segments=segments,
        chunks=spans,
        frames_total=10 * chunks,
        video="t/v",
        models={},
    )
    return job


def run_chunk(store: Store, job: str, segment: int, chunk: int, *, stream: bool = True) -> list[str]:
    """Do a chunk's task as a worker would; returns the tasks that follow."""
    held = claim(store, f"chunk:{job}:{segment}:{chunk}")
    records = [make_record(n) for n in range(10 * chunk, 10 * chunk + 10)]
    store.append(held, job, (segment, chunk) if stream else None, records, lease_seconds=30, counted=segment == 0)
    return [
        ring.task for ring in store.finish_chunk(held, job, segment, chunk, state=None if stream else {"last": chunk})
    ]


def test_a_submitted_job_is_there_with_its_event_and_its_first_task(store: Store) -> None:
    job_id, verdict, rings = store.submit(
        "t/j1", make_doc(labels={"site": "gate"}), priority=7, idempotency_key=None, digest="d"
    )
    job = store.job(job_id)
    assert (job.state, job.labels, job.priority) == (JobState.queued, {"site": "gate"}, 4)
    assert verdict == "new"
    assert [(ring.task, ring.queue, ring.priority) for ring in rings] == [("ingest:t/j1", "ingest", 7)]
    assert [event["type"] for _, event in store.events("t/j1")] == ["job.queued"]


def test_one_idempotency_key_makes_one_job(store: Store) -> None:
    submit(store, "t/j1", key="k")
    again = store.submit("t/j2", make_doc(), priority=4, idempotency_key="k", digest="d")
    other = store.submit("t/j3", make_doc(), priority=4, idempotency_key="k", digest="another")
    assert again[:2] == ("t/j1", "same")
    assert other[1] == "other"
    assert [job.id for job in store.jobs("t")[0]] == ["j1"]


def test_a_claimed_task_is_busy_for_others_until_its_lease_runs_out(store: Store) -> None:
    submit(store)
    first = claim(store, "ingest:t/j1")
    assert store.claim("ingest:t/j1", lease_seconds=30) == "busy"
    assert store.renew(first, lease_seconds=0)
    second = claim(store, "ingest:t/j1")
    assert (second.crashes, second.attempts) == (1, 2)
    assert not store.renew(first, lease_seconds=30)
    assert store.renew(second, lease_seconds=30)


def test_the_first_claim_starts_the_job(store: Store) -> None:
    submit(store)
    claim(store, "ingest:t/j1")
    assert store.job("t/j1").state == JobState.running
    assert store.job("t/j1").started_at is not None


def test_a_worker_that_lost_its_lease_writes_nothing(store: Store) -> None:
    job = planned(store, FRAMES_ONLY)
    frozen = claim(store, f"chunk:{job}:0:0", lease_seconds=0)
    claim(store, f"chunk:{job}:0:0")
    with pytest.raises(LeaseLost):
        store.append(frozen, job, (0, 0), [make_record(0)], lease_seconds=30, counted=True)
    with pytest.raises(LeaseLost):
        store.finish_chunk(frozen, job, 0, 0)
    assert store.frames(job)[0] == []


def test_records_written_twice_are_kept_once(store: Store) -> None:
    job = planned(store, FRAMES_ONLY)
    held = claim(store, f"chunk:{job}:0:0")
    records = [make_record(n) for n in range(4)]
    assert store.append(held, job, (0, 0), records[:3], lease_seconds=30, counted=True) == 3
    assert store.append(held, job, (0, 0), records, lease_seconds=30, counted=True) == 1
    assert [record for _, record in store.frames(job)[0]] == records
    assert store.last_frame(job, 0, 0) == 3
    assert store.job(job).progress.frames_done == 4


def test_a_job_without_sequence_is_finished_when_its_last_chunk_is_whatever_the_order(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3)
    assert run_chunk(store, job, 0, 2) == []
    assert run_chunk(store, job, 0, 0) == []
    assert run_chunk(store, job, 0, 1) == [f"finish:{job}"]
    assert store.claim(f"chunk:{job}:0:1", lease_seconds=30) == "gone"


def test_the_sequence_runs_in_chunk_order_and_joins_the_streams(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE, chunks=3)
    assert run_chunk(store, job, 0, 1) == []
    assert run_chunk(store, job, 0, 0) == [f"chunk:{job}:1:0"]
    assert run_chunk(store, job, 1, 0, stream=False) == [f"chunk:{job}:1:1"]
    assert store.sequence_state(job, 1) == {"last": 0}
    assert run_chunk(store, job, 0, 2) == []
    assert run_chunk(store, job, 1, 1, stream=False) == [f"chunk:{job}:1:2"]
    assert run_chunk(store, job, 1, 2, stream=False) == [f"finish:{job}"]
    assert [record.frame for _, record in store.frames(job)[0]] == list(range(30))
    assert len(store.chunk_records(job, 0, 0)) == 10  # a repair would need them
    store.end_job(claim(store, f"finish:{job}"), job, JobState.succeeded, error=None, exports=[])
    assert store.chunk_records(job, 0, 0) == []


def test_frames_in_order_start_with_the_first_chunk_and_go_on_one_by_one(store: Store) -> None:
    job = planned(store, IN_ORDER, chunks=3)
    assert store.claim(f"chunk:{job}:0:1", lease_seconds=30) == "gone"
    assert run_chunk(store, job, 0, 0) == [f"chunk:{job}:0:1"]
    assert run_chunk(store, job, 0, 1) == [f"chunk:{job}:0:2"]
    assert run_chunk(store, job, 0, 2) == [f"finish:{job}"]


def test_frames_in_order_wait_for_the_segment_before_and_let_the_one_behind_go_on(store: Store) -> None:
    job = planned(store, BEHIND_FRAMES, chunks=3)
    assert run_chunk(store, job, 0, 2) == []
    assert run_chunk(store, job, 0, 0) == [f"chunk:{job}:1:0"]
    held = claim(store, f"chunk:{job}:1:0")
    rings = store.finish_chunk(held, job, 1, 0, state={"file": "0"})
    assert [ring.task for ring in rings] == [f"chunk:{job}:2:0"]
    assert store.sequence_state(job, 1) == {"file": "0"}
    assert run_chunk(store, job, 0, 1) == [f"chunk:{job}:1:1"]
    error = JobError(code="x", message="given up")
    rings = store.finish_chunk(claim(store, f"chunk:{job}:1:1"), job, 1, 1, failed=error)
    assert sorted(ring.task for ring in rings) == [f"chunk:{job}:1:2", f"chunk:{job}:2:1"]
    assert store.sequence_state(job, 1) == {"file": "0"}  # the next goes on from the last state that there is


def test_a_second_segment_of_frames_starts_chunk_by_chunk(store: Store) -> None:
    job = planned(store, TWO_OF_FRAMES)
    held = claim(store, f"chunk:{job}:0:1")
    rings = store.finish_chunk(held, job, 0, 1)
    assert [(ring.task, ring.queue) for ring in rings] == [(f"chunk:{job}:1:1", "gpu-b")]


def test_frames_are_paged_in_order_across_chunks_and_only_as_far_as_they_are_final(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3)
    run_chunk(store, job, 0, 0)
    run_chunk(store, job, 0, 2)
    page, complete = store.frames(job, limit=4)
    assert ([record.frame for _, record in page], complete) == ([0, 1, 2, 3], False)
    page, complete = store.frames(job, after=page[-1][0], limit=100)
    assert ([record.frame for _, record in page], complete) == ([4, 5, 6, 7, 8, 9], False)
    run_chunk(store, job, 0, 1)
    page, complete = store.frames(job, after=page[-1][0], limit=100)
    assert ([record.frame for _, record in page], complete) == (list(range(10, 30)), True)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        pytest.param(0.5, 1.2, list(range(5, 12)), id="over a border"),
        pytest.param(1.0, 2.0, list(range(10, 20)), id="one chunk"),
        pytest.param(2.95, None, [], id="behind the last"),
        pytest.param(None, 0.1, [0], id="from the start"),
    ],
)
def test_a_time_range_gives_start_up_to_stop(store: Store, start: float, stop: float, expected: list[int]) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3)
    for chunk in range(3):
        run_chunk(store, job, 0, chunk)
    page, complete = store.frames(job, start=start, stop=stop)
    assert [record.frame for _, record in page] == expected
    assert complete


def test_a_range_is_exact_though_stream_ids_are_whole_milliseconds(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=1)
    held = claim(store, f"chunk:{job}:0:0")
    times = [0.0, 0.4994, 0.4996, 0.5004, 0.5006]
    records = [FrameRecord(number, number, time) for number, time in enumerate(times)]
    store.append(held, job, (0, 0), records, lease_seconds=30, counted=True)
    store.finish_chunk(held, job, 0, 0)

    def between(start: float, stop: float) -> list[int]:
        return [record.frame for _, record in store.frames(job, start=start, stop=stop, limit=2)[0]]

    assert between(0.4995, 0.5) == [2]
    assert between(0.5, 0.5005) == [3]
    assert between(0.4996, 0.5006) == [2, 3]


def test_cancel_revokes_every_task_and_is_told_once(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, webhook=True)
    held = claim(store, f"chunk:{job}:0:0")
    assert store.cancel(job) == []
    assert (store.renew(held, lease_seconds=30), store.holds(held)) == (False, False)
    assert store.claim(f"chunk:{job}:0:1", lease_seconds=30) == "gone"
    assert store.job(job).state == JobState.canceling
    assert [ring.task for ring in store.leave(held)] == [f"notify:{job}:1"]
    assert (store.leave(held), store.cancel(job)) == ([], [])
    assert store.job(job).state == JobState.canceled
    assert [event["type"] for _, event in store.events(job)].count("job.canceled") == 1


def test_a_job_ends_once_with_its_webhook_due(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=1, webhook=True)
    run_chunk(store, job, 0, 0)
    held = claim(store, f"finish:{job}")
    rings = store.end_job(held, job, JobState.succeeded, error=None, exports=["frames.ndjson"])
    assert [ring.task for ring in rings] == [f"notify:{job}:1"]
    with pytest.raises(LeaseLost):
        store.end_job(held, job, JobState.failed, error=None, exports=[])
    assert store.job(job).exports == ["frames.ndjson"]
    assert store.frames(job)[1]


def test_a_failed_chunk_is_counted_and_its_reason_kept(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=1)
    held = claim(store, f"chunk:{job}:0:0")
    store.finish_chunk(held, job, 0, 0, failed=JobError(code="worker_crashed", message="three times"))
    shown = store.job(job)
    assert shown.progress.chunks_failed == 1
    assert shown.error == JobError(code="worker_crashed", message="three times")


def test_a_released_task_waits_for_its_delay(store: Store) -> None:
    submit(store)
    store.release(claim(store, "ingest:t/j1"), delay_seconds=60, failed=True)
    assert store.claim("ingest:t/j1", lease_seconds=30) == "early"
    store.client.hset("cvpipe:task:ingest:t/j1", "not_before", 0)
    again = claim(store, "ingest:t/j1")
    assert (again.failures, again.crashes) == (1, 0)


def test_a_task_that_got_on_before_it_was_handed_back_is_held_against_nothing(store: Store) -> None:
    submit(store)
    claim(store, "ingest:t/j1", lease_seconds=0)
    store.release(claim(store, "ingest:t/j1"), failed=True)
    third = claim(store, "ingest:t/j1")
    assert (third.crashes, third.failures) == (1, 1)
    store.release(third, progressed=True)
    fourth = claim(store, "ingest:t/j1")
    assert (fourth.crashes, fourth.failures, fourth.attempts) == (0, 0, 4)


def test_the_sweeper_rings_for_what_nobody_took_and_for_lost_leases_once_an_interval(store: Store) -> None:
    submit(store)
    assert store.sweep(limit=10, ring_again_seconds=5) == []
    claim(store, "ingest:t/j1", lease_seconds=0)
    assert [ring.task for ring in store.sweep(limit=10, ring_again_seconds=5)] == ["ingest:t/j1"]
    assert store.sweep(limit=10, ring_again_seconds=5) == []


def test_a_job_that_is_not_over_can_not_be_deleted_and_one_that_is_leaves_nothing(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE, webhook=True)
    run_chunk(store, job, 0, 0)
    run_chunk(store, job, 1, 0, stream=False)
    with pytest.raises(Conflict):
        store.delete_job(job)
    store.cancel(job)
    store.delete_job(job)
    assert store.client.keys("cvpipe:*") == []
    with pytest.raises(NotFound):
        store.delete_job(job)


def test_a_task_that_only_waits_is_rung_for_ever_more_rarely(store: Store) -> None:
    submit(store)
    store.client.zadd("cvpipe:due", {"ingest:t/j1": 0})
    waits = []
    for _ in range(4):
        assert [ring.task for ring in store.sweep(limit=10, ring_again_seconds=5)] == ["ingest:t/j1"]
        score = store.client.zscore("cvpipe:due", "ingest:t/j1")
        seconds, microseconds = store.client.time()  # type: ignore[misc]
        waits.append(round((float(score) - seconds * 1000 - microseconds / 1000) / 1000))  # type: ignore[arg-type]
        store.client.zadd("cvpipe:due", {"ingest:t/j1": 0})
    assert waits == [5, 10, 20, 40]


def test_what_the_client_sends_twice_because_an_answer_got_lost_happens_once(store: Store) -> None:
    submit(store)
    held = claim(store, "ingest:t/j1")
    store.end_job(held, "t/j1", JobState.failed, error=None, exports=[])
    submit(store)
    assert store.job("t/j1").state == JobState.failed
    assert [event["type"] for _, event in store.events("t/j1")] == ["job.queued", "job.running", "job.failed"]
    submit(store, "t/j2")
    first, again = (store._scripts["claim"](args=["ingest:t/j2", "token", 30_000]) for _ in range(2))
    assert first == again == [b"ok", 0, 0, 1]


def test_a_sequence_chunk_that_is_given_up_leaves_the_state_to_the_next(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE, chunks=2)
    run_chunk(store, job, 0, 0)
    run_chunk(store, job, 0, 1)
    held = claim(store, f"chunk:{job}:1:0")
    store.finish_chunk(held, job, 1, 0, failed=JobError(code="internal", message="x"))
    assert store.sequence_state(job, 1) is None
    assert run_chunk(store, job, 1, 1, stream=False) == [f"finish:{job}"]
    assert store.sequence_state(job, 1) == {"last": 1}


def test_a_chunk_that_fails_in_two_segments_is_one_failed_chunk(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE, chunks=2)
    error = JobError(code="internal", message="x")
    store.finish_chunk(claim(store, f"chunk:{job}:0:0"), job, 0, 0, failed=error)
    store.finish_chunk(claim(store, f"chunk:{job}:1:0"), job, 1, 0, failed=error)
    assert store.job(job).progress.chunks_failed == 1


def test_the_records_of_a_canceled_job_have_no_holes(store: Store) -> None:
    job = planned(store, FRAMES_ONLY, chunks=3)
    held = claim(store, f"chunk:{job}:0:0")
    store.append(held, job, (0, 0), [make_record(n) for n in range(3)], lease_seconds=30, counted=True)
    run_chunk(store, job, 0, 1)
    store.cancel(job)
    store.leave(held)
    page, complete = store.frames(job)
    assert ([record.frame for _, record in page], complete) == ([0, 1, 2], True)


def test_jobs_are_listed_newest_first_in_pages_and_filtered(store: Store) -> None:
    for number in range(5):
        submit(store, f"t/j{number}", labels={"parity": str(number % 2)})
        time.sleep(0.002)
    first, cursor = store.jobs("t", limit=3)
    rest, end = store.jobs("t", limit=3, cursor=cursor)
    assert [job.id for job in first + rest] == ["j4", "j3", "j2", "j1", "j0"]
    assert end is None
    assert [job.id for job in store.jobs("t", label=("parity", "1"))[0]] == ["j3", "j1"]
    store.cancel("t/j2")
    assert [job.id for job in store.jobs("t", state=JobState.canceled)[0]] == ["j2"]


def test_a_job_that_comes_while_pages_are_read_shifts_none(store: Store) -> None:
    for number in range(450):  # more than the store reads at once
        submit(store, f"t/j{number:03}")
    first, cursor = store.jobs("t", limit=300)
    submit(store, "t/later")
    rest, end = store.jobs("t", limit=300, cursor=cursor)
    assert sorted(job.id for job in first + rest) == [f"j{number:03}" for number in range(450)]
    assert end is None


def test_a_store_that_does_not_answer_says_so() -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        Store.connect("redis://127.0.0.1:1/0")


def test_a_store_that_is_full_is_unavailable_and_works_again_when_it_has_room(store: Store) -> None:
    job = planned(store, FRAMES_ONLY)
    held = claim(store, f"chunk:{job}:0:0")
    worker = WorkerState("w", ["cpu"], None)
    asked: list[Callable[[], Any]] = [
        lambda: submit(store, "t/j2"),
        lambda: store.append(held, job, (0, 0), [make_record(0)], lease_seconds=30, counted=True),
        lambda: store.finish_chunk(held, job, 0, 0),
        lambda: store.release(held),
        lambda: store.put_worker(worker, keep_seconds=5),
    ]
    store.client.config_set("maxmemory", 1)
    try:
        for ask in asked:
            with pytest.raises(StoreUnavailable, match="refuses to write"):
                ask()
    finally:
        store.client.config_set("maxmemory", 0)
    for ask in asked:
        ask()
    assert [record.frame for record in store.chunk_records(job, 0, 0)] == [0]


def test_a_store_that_starts_again_between_loading_a_script_and_running_it_is_unavailable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, load = store.client, store.client.script_load

    def load_and_lose(script: str) -> str:
        digest = str(load(script))
        client.script_flush()  # what a restart does to scripts
        return digest

    client.script_flush()
    monkeypatch.setattr(client, "script_load", load_and_lose)
    with pytest.raises(StoreUnavailable, match="started again"):
        submit(store)
    monkeypatch.undo()
    assert submit(store) == "t/j1"


def test_a_store_that_is_a_replica_is_unavailable(store: Store) -> None:
    store.client.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(StoreUnavailable, match="refuses to write"):
            submit(store)
    finally:
        store.client.replicaof("NO", "ONE")


def test_a_store_that_may_evict_is_refused(redis_url: str) -> None:
    store = Store.connect(redis_url)
    store.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreUnavailable, match="noeviction"):
            Store.connect(redis_url)
    finally:
        store.client.config_set("maxmemory-policy", "noeviction")
        store.close()


def test_twenty_objects_fit_in_one_point_two_kilobytes_in_redis() -> None:
    box = [[1234.56 + n, 567.89, 1300.12, 700.34] for n in range(20)]
    objects = Objects.make(
        stage="people", box=box, score=[0.9123] * 20, label=["person"] * 20, class_id=[0] * 20, track=range(1000, 1020)
    )
    record = FrameRecord(123456, 61_728_000, 4938.24, objects=objects)
    assert len(record.pack()) + len(record.stream_id) <= 1200
    assert FrameRecord.unpack(record.pack()) == record


def test_a_job_shows_what_it_waits_for_until_it_goes_on(store: Store) -> None:
    job = submit(store)
    claim(store, f"ingest:{job}")
    before = len(store.events(job))
    store.say_waiting(job, "model a needs 3 GiB, 1 GiB free on cpu")
    store.say_waiting(job, "model a needs 3 GiB, 1 GiB free on cpu")
    assert store.job(job).progress.waiting == "model a needs 3 GiB, 1 GiB free on cpu"
    store.say_waiting(job, None)
    store.say_waiting(job, None)
    assert store.job(job).progress.waiting is None
    assert [event["type"] for _, event in store.events(job)][before:] == ["waiting", "waiting"]
    store.say_waiting("t/gone", "for nothing")
    with pytest.raises(NotFound):
        store.job("t/gone")


def test_what_workers_have_used_adds_up(store: Store) -> None:
    job = submit(store)
    use = {"pictures": 6, "calls": 1.5, "places": 8.0, "blank": 2.0, "wait_seconds": 0.012, "device_seconds": 0.25}
    store.add_use(job, {"a@1": use})
    store.add_use(job, {"a@1": use, "b@2": {"pictures": 1, "calls": 1, "places": 1, "blank": 0}})
    store.add_use("t/gone", {"a@1": use})
    assert store.job(job).decoding == {}
    store.add_use(job, {"": {"nvdec": 40, "cpu: the card's decoder complained": 2}})
    store.add_use(job, {"": {"nvdec": 2}})
    assert store.job(job).decoding == {"cpu: the card's decoder complained": 2, "nvdec": 42}
    a, b = store.job(job).usage.values()
    assert (a.pictures, a.calls, a.batch_fill, a.padding_waste) == (12, 3, 0.75, 0.25)
    assert (a.queue_wait_ms, a.device_seconds) == (2.0, 0.5)
    assert (b.pictures, b.batch_fill, b.padding_waste) == (1, 1.0, 0.0)
    with pytest.raises(NotFound):
        store.job("t/gone")


def test_what_belongs_to_one_tenant_is_not_there_for_another(store: Store) -> None:
    submit(store, "a/j1", key="k")
    submit(store, "b/j1", key="k", labels={"whose": "b"})
    assert [job.labels for job in store.jobs("a")[0]] == [{}]
    assert [job.labels for job in store.jobs("b")[0]] == [{"whose": "b"}]
    assert store.tenants() == ["a", "b"]
    assert store.job_counts()["queued"] == 2
    with pytest.raises(NotFound, match="there is no job 'j1'"):
        store.job("c/j1")
    store.put_video("a/" + "0" * 64, size=7, state="indexing")
    with pytest.raises(NotFound):
        store.video("b/" + "0" * 64)


def test_every_key_of_a_job_names_its_tenant(store: Store) -> None:
    job = planned(store, WITH_SEQUENCE)
    run_chunk(store, job, 0, 0)
    of_all = {b"cvpipe:due", b"cvpipe:tenants"}
    keys = set(store.client.keys("cvpipe:*")) - of_all
    assert keys, "a job without keys"
    of_queues = re.compile(rb"cvpipe:(ready|order|count|turn):\w+$|cvpipe:line:\w+:4 t$")
    named = re.compile(rb":t/j1|^cvpipe:(jobs|active):t$")
    assert [key for key in keys if not named.search(key) and not of_queues.match(key)] == []
