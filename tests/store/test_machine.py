"""The protocol as a whole: whatever order messages, crashes and wishes come in, the store does what this model says.

The model says it another way than the scripts do: which tasks are open follows from a job's state and from what is done
of it, as a definition, where the scripts make and drop tasks one by one. Time is moved by hand: nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cvpipe.errors import Conflict, LeaseLost, NotFound
from cvpipe.job import ENDS, FINAL, TRANSITIONS, JobError, JobState
from cvpipe.results import FrameRecord
from cvpipe.store import Claim, Ring, Store
from tests.store.test_store import (
    BEHIND_FRAMES,
    FRAMES_ONLY,
    IN_ORDER,
    TWO_OF_FRAMES,
    WITH_SEQUENCE,
    make_doc,
    make_record,
)

CHUNK_FRAMES: Final = 4
REASON: Final = JobError(code="internal", message="x")
LIVE: Final = (JobState.queued, JobState.running, JobState.paused)
OVER: Final = (JobState.succeeded, JobState.succeeded_with_gaps)


@dataclass
class Held:
    """What the model knows of an open task beside that it is open.

    worker: who holds it. expired: its lease ran out. early: not before a while.
    """

    worker: Worker | None = None
    expired: bool = False
    early: bool = False
    crashes: int = 0
    failures: int = 0


@dataclass(eq=False)
class Worker:
    """Somebody who believes that a task is his."""

    claim: Claim
    job: ModelJob
    records: list[FrameRecord] | None = None

    @property
    def task(self) -> str:
        return self.claim.task


@dataclass(eq=False)
class ModelJob:
    """A job as it should be."""

    id: str
    segments: list[dict[str, Any]]
    chunks: int
    damaged: frozenset[int]
    state: JobState = JobState.queued
    planned: bool = False
    done: dict[tuple[int, int], str] = field(default_factory=dict)
    gapped: set[int] = field(default_factory=set)
    before: tuple[JobState, dict[tuple[int, int], str], set[int]] | None = None
    told: bool = True
    ends: int = 0
    leaving: set[Worker] = field(default_factory=set)
    tasks: dict[str, Held] = field(default_factory=dict)
    events: list[str] = field(default_factory=lambda: ["job.queued"])
    frames_done: int = 0
    slots: Slots = field(default_factory=lambda: Slots(None))

    @property
    def is_kept_back(self) -> bool:
        return self.state is JobState.paused or self in self.slots.parked

    @property
    def last(self) -> int:
        """Number of the last segment."""
        return len(self.segments) - 1

    @property
    def sequence(self) -> int | None:
        return self.last if self.segments[-1]["kind"] == "sequence" else None

    @property
    def frames(self) -> int:
        """Number of the last segment that looks at frames."""
        return self.last if self.sequence is None else self.last - 1

    def is_in_order(self, segment: int) -> bool:
        return segment == self.sequence or self.segments[segment].get("in_order", False)

    @property
    def is_whole(self) -> bool:
        return self.planned and all((self.last, chunk) in self.done for chunk in range(self.chunks))

    def open_tasks(self) -> set[str]:
        """The definition."""
        if self.state in FINAL:
            return set() if self.told else {f"notify:{self.id}:{self.ends}"}
        if self.state not in LIVE:
            return set()
        if not self.planned:
            return {f"ingest:{self.id}"}
        if self.is_whole:
            return {f"finish:{self.id}"}
        found = set()
        for chunk in range(self.chunks):
            segment = next((s for s in range(self.last + 1) if (s, chunk) not in self.done), None)
            if segment is None:
                continue
            if self.is_in_order(segment) and chunk > 0 and (segment, chunk - 1) not in self.done:
                continue
            found.add(f"chunk:{self.id}:{segment}:{chunk}")
        return found

    def become(self, state: JobState) -> None:
        assert state in TRANSITIONS[self.state]
        self.state = state
        self.events.append(f"job.{state}")
        if state in FINAL:
            self.tasks.clear()
            self.told = False
            self.ends += 1
            if self.before is not None:
                _, done, gapped = self.before
                if not self.is_whole:
                    self.done, self.gapped = done, self.gapped | gapped
                self.before = None
        self.slots.follow(self)
        self.settle()

    def settle(self) -> None:
        """Tasks are as the definition says; what is known of those that stay, stays."""
        self.tasks = {name: self.tasks.get(name, Held()) for name in self.open_tasks()}

    def begin_again(self) -> None:
        self.tasks.clear()
        self.frames_done = 0
        self.become(JobState.queued)

    def redo(self) -> None:
        self.before = (self.state, dict(self.done), set(self.gapped))
        again = self.gapped | {c for c in range(self.chunks) if (self.frames, c) not in self.done}
        if any(self.is_in_order(segment) for segment in range(self.frames + 1)):
            again = set(range(self.chunks))
        self.done = {
            (s, c): mark
            for (s, c), mark in self.done.items()
            if s != self.sequence and not (s <= self.frames and c in again)
        }
        self.gapped = set()
        self.begin_again()

    def end_cancel(self) -> None:
        self.leaving.clear()
        self.become(JobState.canceled if self.before is None else self.before[0])


class Slots:
    """Which jobs are at work, and which have to wait for one of these, the oldest first."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.active: list[ModelJob] = []
        self.parked: list[ModelJob] = []

    def is_free(self, tenant: str) -> bool:
        return self.most is None or sum(job.id[0] == tenant for job in self.active) < self.most

    def follow(self, job: ModelJob) -> None:
        """A job has changed its state."""
        tenant = job.id[0]
        if job.state is JobState.queued:
            (self.active if self.is_free(tenant) else self.parked).append(job)
        if job.state is JobState.paused or job.state in FINAL:
            for some in (self.active, self.parked):
                some.remove(job) if job in some else None
            waiting = sorted((job for job in self.parked if job.id[0] == tenant), key=lambda job: job.id)
            for first in waiting:
                if self.is_free(tenant):
                    self.parked.remove(first)
                    self.active.append(first)


class Protocol(RuleBasedStateMachine):
    """Jobs, workers, messages."""

    store: Store
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[ModelJob] = []
        self.workers: list[Worker] = []
        self.count = 0

    @initialize(most=st.sampled_from([None, 1, 2]))
    def empty(self, most: int | None) -> None:
        self.store.client.flushall()
        self.store.put_max_running(most)
        self.slots = Slots(most)

    # What clients wish.

    @rule(
        target=messages,
        segments=st.sampled_from([FRAMES_ONLY, WITH_SEQUENCE, TWO_OF_FRAMES, IN_ORDER, BEHIND_FRAMES]),
        chunks=st.integers(1, 3),
        damaged=st.frozensets(st.integers(0, 11), max_size=2),
        twice=st.booleans(),
        tenant=st.sampled_from("tu"),
        tasks=st.integers(0, 14),
    )
    def submit(
        self,
        segments: list[dict[str, Any]],
        chunks: int,
        damaged: frozenset[int],
        twice: bool,
        tenant: str,
        tasks: int,
    ) -> str:
        self.count += 1
        job = ModelJob(f"{tenant}/j{self.count:03}", segments, chunks, damaged, slots=self.slots)
        for _ in range(1 + twice):  # the answer got lost
            self.store.submit(job.id, make_doc(), priority=4, webhook=ENDS, idempotency_key=None, digest="d")
        self.slots.follow(job)
        job.settle()
        self.jobs.append(job)
        self.do(job, tasks)
        return f"ingest:{job.id}"

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def take_all(self, data: st.DataObject) -> None:
        """There are as many workers as a job has tasks."""
        for task in sorted(self.pick(data).tasks):
            self.take(task)

    @rule(data=st.data(), tasks=st.integers(1, 9))
    @precondition(lambda self: self.jobs)
    def all_goes_well(self, data: st.DataObject, tasks: int) -> None:
        """For a while, with one job: so that the others' faults come at all places of a job's way."""
        self.do(self.pick(data), tasks)

    def do(self, job: ModelJob, tasks: int) -> None:
        for _ in range(tasks):
            free = sorted(name for name, held in job.tasks.items() if held.worker is None and not held.early)
            if not free or job.is_kept_back or job.state not in (JobState.queued, JobState.running):
                return
            worker = self.take(free[0])
            while worker in self.workers:
                self.step(worker)

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def cancel(self, data: st.DataObject) -> None:
        job = self.pick(data)
        self.store.cancel(job.id)
        if job.state in LIVE:
            job.leaving = {h.worker for h in job.tasks.values() if h.worker is not None and not h.expired}
            if job.leaving:
                job.become(JobState.canceling)
            else:
                job.end_cancel()

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def pause(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if job.state not in LIVE:
            with pytest.raises(Conflict, match="can be paused"):
                self.store.pause(job.id)
            return
        self.store.pause(job.id)
        if job.state is not JobState.paused:
            for held in job.tasks.values():
                held.worker, held.expired = None, False
            job.become(JobState.paused)

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def resume(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if job.state not in LIVE:
            with pytest.raises(Conflict, match="can be resumed"):
                self.store.resume(job.id)
            return
        rings = self.store.resume(job.id)
        if job.state is JobState.paused:
            job.become(JobState.queued)
            assert {ring.task for ring in rings} == self.open_now(job)

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def retry(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if job.state is not JobState.failed:
            with pytest.raises(Conflict, match=f"the job is {job.state}"):
                self.store.retry(job.id)
            return
        rings = self.store.retry(job.id)
        if job.is_whole and job.gapped:
            job.redo()
        else:
            job.begin_again()
        assert {ring.task for ring in rings} == self.open_now(job)

    @rule(data=st.data(), mended=st.booleans())
    @precondition(lambda self: self.jobs)
    def repair(self, data: st.DataObject, mended: bool) -> None:
        job = self.pick(data)
        can = job.state in (JobState.failed, JobState.succeeded_with_gaps) and job.planned and job.gapped
        if not can:
            with pytest.raises(Conflict):
                self.store.repair(job.id)
            return
        job.damaged = frozenset() if mended else job.damaged
        rings = self.store.repair(job.id)
        job.redo()
        assert {ring.task for ring in rings} == self.open_now(job)

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def delete(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if job.state not in FINAL:
            with pytest.raises(Conflict, match="not over"):
                self.store.delete_job(job.id)
            return
        self.store.delete_job(job.id)
        self.jobs.remove(job)
        assert self.store.client.keys(f"cvpipe:*{job.id}*") == []
        with pytest.raises(NotFound):
            self.store.job(job.id)

    # What the broker does: a message that stays in the bundle is one that comes twice, or late.

    @rule(message=messages)
    def deliver(self, message: str) -> None:
        self.take(message)

    @rule(message=consumes(messages))
    def deliver_once(self, message: str) -> None:
        self.take(message)

    @rule(message=consumes(messages))
    def lose(self, message: str) -> None:
        """Nobody hears it."""

    @rule(queue=st.sampled_from(["ingest", "cpu", "gpu-b", "sequence", "finish", "notify"]))
    def ring(self, queue: str) -> None:
        """Somebody takes what is first in a queue."""
        may = {n for job in self.jobs if not job.is_kept_back for n, h in job.tasks.items() if h.worker is None}
        got = self.store.take(queue, lease_seconds=60)
        if got is not None:
            assert got.task in may | {n for job in self.jobs for n, h in job.tasks.items() if h.expired}
            self.take(got.task, got)
        else:
            early = {n for job in self.jobs for n, h in job.tasks.items() if h.early}
            queues = {name: self.store.client.hget(f"cvpipe:task:{name}", "queue") for name in may - early}
            assert queue.encode() not in queues.values()

    def take(self, task: str, taken: Claim | None = None) -> Worker | None:
        """Somebody wants the task, or has it."""
        job = next((job for job in self.jobs if job.id == task.split(":")[1]), None)
        held = None if job is None else job.tasks.get(task)
        got = taken or self.store.claim(task, lease_seconds=60)
        if job is None or held is None:
            assert got == "gone"
            return None
        if job.is_kept_back:
            assert got == "paused"
            return None
        if held.worker is not None and not held.expired:
            assert got == "busy"
            return None
        if held.worker is None and held.early:
            assert got == "early"
            return None
        held.crashes += held.worker is not None
        assert isinstance(got, Claim), got
        assert (got.crashes, got.failures) == (held.crashes, held.failures)
        worker = Worker(got, job)
        held.worker, held.expired, held.early = worker, False, False
        self.workers.append(worker)
        if job.state is JobState.queued:
            job.become(JobState.running)
        return worker

    # What workers do.

    @rule(data=st.data(), some=st.integers(1, CHUNK_FRAMES))
    @precondition(lambda self: self.workers)
    def go_on(self, data: st.DataObject, some: int) -> None:
        """A worker writes some records, or comes to the end of its task."""
        self.step(data.draw(st.sampled_from(self.workers)), some)

    def step(self, worker: Worker, some: int = CHUNK_FRAMES) -> None:
        job, kind = worker.job, worker.task.partition(":")[0]
        if not self.owns(worker):
            if kind == "ingest":
                with pytest.raises(LeaseLost):
                    self.commit_plan(worker)
            if kind == "chunk":
                segment, chunk = (int(part) for part in worker.task.split(":")[2:])
                late = [make_record(99, status="failed")]
                with pytest.raises(LeaseLost):
                    self.store.append(worker.claim, job.id, (segment, chunk), late, lease_seconds=60, counted=True)
                with pytest.raises(LeaseLost):
                    self.store.finish_chunk(worker.claim, job.id, segment, chunk, failed=REASON, state={"late": 1})
            with pytest.raises(LeaseLost):
                self.store.end_job(worker.claim, job.id, JobState.succeeded, error=None, exports=[])
            self.store.drop(worker.claim)
            assert not self.store.renew(worker.claim, lease_seconds=60)
            assert not self.store.holds(worker.claim)
            self.leave(worker)
        elif kind == "ingest":
            self.plan(worker)
        elif kind == "chunk":
            self.work(worker, some)
        elif kind == "finish":
            failed = all(job.done[job.last, chunk] == "failed" for chunk in range(job.chunks))
            gaps = JobState.succeeded_with_gaps if job.gapped else JobState.succeeded
            self.end(worker, JobState.failed if failed else gaps)
        else:
            self.store.drop(worker.claim)
            self.workers.remove(worker)
            job.told = True
            job.settle()

    def plan(self, worker: Worker) -> None:
        self.commit_plan(worker)
        self.workers.remove(worker)
        worker.job.planned = True
        worker.job.settle()

    def commit_plan(self, worker: Worker) -> None:
        job = worker.job
        self.store.plan(
            worker.claim, job.id, segments=job.segments,
            chunks=[(CHUNK_FRAMES * n, CHUNK_FRAMES * (n + 1), 100 * CHUNK_FRAMES * n) for n in range(job.chunks)],
            frames_total=CHUNK_FRAMES * job.chunks, video="t/v", models={},
        )  # fmt: skip

    def work(self, worker: Worker, some: int) -> None:
        job = worker.job
        segment, chunk = (int(part) for part in worker.task.split(":")[2:])
        if worker.records is None:
            worker.records = self.records(job, segment, chunk)
        part, worker.records = worker.records[:some], worker.records[some:]
        stream = None if segment == job.sequence else (segment, chunk)
        if part:
            self.store.append(worker.claim, job.id, stream, part, lease_seconds=60, counted=segment == job.frames)
            self.held(worker).expired = False  # who was only slow has its lease again
            if any(record.status != "ok" for record in part):
                job.gapped.add(chunk)
        if not worker.records:
            state = {"last": chunk} if job.is_in_order(segment) else None
            self.store.finish_chunk(worker.claim, job.id, segment, chunk, state=state)
            self.finish_chunk(worker, segment, chunk, "ok")

    def records(self, job: ModelJob, segment: int, chunk: int) -> list[FrameRecord]:
        """What is left to be written of a chunk, as `cvpipe.work` finds it."""
        if job.is_in_order(segment) and chunk == 0:
            assert self.store.sequence_state(job.id, segment) is None
        elif job.is_in_order(segment) and job.done[segment, chunk - 1] == "ok":
            assert self.store.sequence_state(job.id, segment) == {"last": chunk - 1}
        if segment == job.sequence:
            found = self.store.chunk_records(job.id, segment - 1, chunk)
            assert [record.frame for record in found] == self.numbers(chunk)
            return found
        kept = {r.frame: r for r in self.store.old_records(job.id, job.frames, chunk) if r.status == "ok"}
        last = self.store.last_frame(job.id, segment, chunk)
        left = [n for n in self.numbers(chunk) if n > last]
        return [
            kept.get(n) or make_record(n, status="decode_error" if n in job.damaged else "ok") for n in left
        ]  # fmt: skip

    @staticmethod
    def numbers(chunk: int) -> list[int]:
        return list(range(CHUNK_FRAMES * chunk, CHUNK_FRAMES * (chunk + 1)))

    def finish_chunk(self, worker: Worker, segment: int, chunk: int, mark: str) -> None:
        worker.job.done[segment, chunk] = mark
        self.workers.remove(worker)
        worker.job.settle()

    @rule(data=st.data())
    @precondition(lambda self: any(w.task.startswith("chunk:") and self.owns(w) for w in self.workers))
    def give_up(self, data: st.DataObject) -> None:
        """A chunk can't be done: its frames get records that say so."""
        worker = data.draw(st.sampled_from([w for w in self.workers if w.task.startswith("chunk:") and self.owns(w)]))
        job = worker.job
        segment, chunk = (int(part) for part in worker.task.split(":")[2:])
        stream = None if segment == job.sequence else (segment, chunk)
        records = [make_record(n, status="failed") for n in self.numbers(chunk)]
        self.store.append(worker.claim, job.id, stream, records, lease_seconds=60, counted=segment == job.frames)
        self.store.finish_chunk(worker.claim, job.id, segment, chunk, failed=REASON)
        job.gapped.add(chunk)
        self.finish_chunk(worker, segment, chunk, "failed")

    @rule(data=st.data())
    @precondition(lambda self: any(self.is_of_live_job(w) for w in self.workers))
    def fail(self, data: st.DataObject) -> None:
        """A worker sees that the whole job can't be done."""
        self.end(data.draw(st.sampled_from([w for w in self.workers if self.is_of_live_job(w)])), JobState.failed)

    def end(self, worker: Worker, state: JobState) -> None:
        error = None if state is JobState.succeeded else REASON
        self.store.end_job(worker.claim, worker.job.id, state, error=error, exports=[])
        self.workers.remove(worker)
        worker.job.become(state)

    @rule(data=st.data(), failed=st.booleans())
    @precondition(lambda self: self.workers)
    def hand_back(self, data: st.DataObject, failed: bool) -> None:
        """SIGTERM, or an error that may pass."""
        worker = data.draw(st.sampled_from(self.workers))
        rings = self.store.release(worker.claim, delay_seconds=60 if failed else 0, failed=failed)
        if not self.owns(worker):
            assert rings == []
            self.leave(worker)
            return
        self.workers.remove(worker)
        held = self.held(worker)
        held.worker, held.expired, held.early = None, False, failed
        held.failures += failed

    @rule(data=st.data(), dies=st.booleans())
    @precondition(lambda self: self.workers)
    def fall_silent(self, data: st.DataObject, dies: bool) -> None:
        """A worker dies, or freezes past its lease and may come back."""
        worker = data.draw(st.sampled_from(self.workers))
        if self.owns(worker):
            self.store.renew(worker.claim, lease_seconds=0)
            self.held(worker).expired = True
        if dies:
            self.workers.remove(worker)

    def leave(self, worker: Worker) -> None:
        self.store.leave(worker.claim)
        self.workers.remove(worker)
        job = worker.job
        if worker in job.leaving:
            job.leaving.remove(worker)
            if not job.leaving:
                job.end_cancel()

    # What the sweeper does.

    @rule()
    def sweep_now(self) -> None:
        """Nothing is rung for that somebody holds, or that must not be worked on."""
        rings = {ring.task for ring in self.store.sweep(limit=1000, ring_again_seconds=60)}
        tasks = {name: held for job in self.jobs if not job.is_kept_back for name, held in job.tasks.items()}
        assert rings <= {name for name in tasks if tasks[name].worker is None or tasks[name].expired}

    @rule(target=messages, data=st.data())
    @precondition(lambda self: any(job.open_tasks() for job in self.jobs))
    def sweep_later(self, data: st.DataObject) -> str:
        """After a while: all that nobody holds is rung for, and cancels end. One of the rings arrives at once."""
        rings = self.sweep_after_a_while()
        return data.draw(st.sampled_from(sorted(ring.task for ring in rings))) if rings else "ingest:t/gone"

    def sweep_after_a_while(self) -> list[Ring]:
        redis = self.store.client
        alive = {n for j in self.jobs for n, h in j.tasks.items() if h.worker is not None and not h.expired}
        for job in self.jobs:
            for name, held in job.tasks.items():
                redis.hset(f"cvpipe:task:{name}", "not_before", 0)
                held.early = False
        for raw in redis.zrange("cvpipe:due", 0, -1):  # type: ignore[union-attr]
            if raw.decode() not in alive:
                redis.zadd("cvpipe:due", {raw: 0})
        rings = self.store.sweep(limit=1000, ring_again_seconds=60)
        for job in self.jobs:
            if job.state is JobState.canceling:
                job.end_cancel()
        due = {n for j in self.jobs if not j.is_kept_back for n in j.tasks if n not in alive}
        assert {ring.task for ring in rings} == due
        return rings

    # What holds after every step.

    @invariant()
    def jobs_are_as_they_should_be(self) -> None:
        for job in self.jobs:
            shown = self.store.job(job.id)
            assert shown.state == job.state
            kinds = [event["type"] for _, event in self.store.events(job.id, limit=5000)]
            assert [kind for kind in kinds if kind.startswith("job.")] == job.events
            tasks = self.store.client.smembers(f"cvpipe:job:{job.id}:tasks")
            assert {raw.decode() for raw in tasks} == {name for name in job.tasks if not name.startswith("notify:")}  # type: ignore[union-attr]
            if job.state in (JobState.queued, JobState.running) and job.before is None:
                assert shown.progress.frames_done >= job.frames_done
                job.frames_done = shown.progress.frames_done

    @invariant()
    def what_is_due_is_what_is_open_and_may_be_done(self) -> None:
        due = {raw.decode() for raw in self.store.client.zrange("cvpipe:due", 0, -1)}  # type: ignore[union-attr]
        clocks = {f"clock:{job.id}" for job in self.jobs if job.state is JobState.canceling}
        assert due == clocks | {n for job in self.jobs for n in self.open_now(job)}

    @invariant()
    def lines_hold_what_may_be_claimed(self) -> None:
        redis = self.store.client
        lines = {key: redis.zrange(key, 0, -1) for key in redis.keys("cvpipe:line:*")}  # type: ignore[union-attr]
        standing = [raw.decode() for line in lines.values() for raw in line]  # type: ignore[union-attr]
        assert len(standing) == len(set(standing))
        tasks = {name: held for job in self.jobs if not job.is_kept_back for name, held in job.tasks.items()}
        assert {name for name in tasks if tasks[name].worker is None and not tasks[name].early} <= set(standing)
        assert set(standing) <= {name for name in tasks if tasks[name].worker is None or tasks[name].expired}
        counts = {key: redis.hgetall(key) for key in redis.keys("cvpipe:count:*")}  # type: ignore[union-attr]
        of_jobs = [name for name in standing if not name.startswith("notify:")]
        assert sum(int(n) for count in counts.values() for n in count.values()) == len(of_jobs)  # type: ignore[union-attr]
        for key, count in counts.items():
            assert set(redis.zrange(key.replace(b"count", b"order"), 0, -1)) == set(count)  # type: ignore[arg-type]
        for job in self.jobs:
            held = {raw.decode() for raw in redis.smembers(f"cvpipe:job:{job.id}:held")}  # type: ignore[union-attr]
            own = {name: held for name, held in job.tasks.items() if not name.startswith("notify:")}
            assert held == {name for name in own if own[name].worker is not None}

    def open_now(self, job: ModelJob) -> set[str]:
        return set() if job.is_kept_back else set(job.tasks)

    @invariant()
    def records_are_in_order_each_once_and_without_holes(self) -> None:
        for job in self.jobs:
            page, complete = self.store.frames(job.id)
            assert [record.frame for _, record in page] == list(range(len(page)))
            assert all(record == make_record(n, status=record.status) for n, (_, record) in enumerate(page))
            if job.state in OVER:
                assert (complete, len(page)) == (True, CHUNK_FRAMES * job.chunks)
            if job.state is JobState.succeeded:
                assert {record.status for _, record in page} == {"ok"}

    def teardown(self) -> None:
        """However it stands: from here on all goes well, and every job ends."""
        for job in self.jobs:
            self.store.resume(job.id) if job.state is JobState.paused else None
            job.become(JobState.queued) if job.state is JobState.paused else None
        for _ in range(20):
            for worker in list(self.workers):
                while worker in self.workers:
                    self.step(worker)
            for job in self.jobs:
                job.tasks and [setattr(h, "expired", True) for h in job.tasks.values() if h.worker is not None]
            for name in [n for j in self.jobs for n, h in j.tasks.items() if h.worker is not None]:
                self.store.client.hset(f"cvpipe:task:{name}", "lease_until", 0)
            for ring in self.sweep_after_a_while():
                self.take(ring.task)
        assert [job.id for job in self.jobs if job.state not in FINAL or not job.told] == []
        self.jobs_are_as_they_should_be()
        self.records_are_in_order_each_once_and_without_holes()
        for job in self.jobs:
            self.store.delete_job(job.id)
        left = {key for key in self.store.client.keys("cvpipe:*") if not key.startswith(b"cvpipe:taken:")}  # type: ignore[union-attr]
        assert left <= {b"cvpipe:max_running"}

    def pick(self, data: st.DataObject) -> ModelJob:
        return data.draw(st.sampled_from(self.jobs))

    def held(self, worker: Worker) -> Held:
        return worker.job.tasks[worker.task]

    def owns(self, worker: Worker) -> bool:
        job = worker.job
        held = job.tasks.get(worker.task) if job in self.jobs else None
        return held is not None and held.worker is worker

    def is_of_live_job(self, worker: Worker) -> bool:
        return self.owns(worker) and worker.job.state in LIVE


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """On a Redis that does not wait for its disk: nothing is killed here, and there are thousands of steps."""
    store = Store.connect(redis_url)
    store.client.config_set("appendfsync", "no")
    yield store
    store.client.config_set("appendfsync", "always")
    store.close()


def test_the_store_does_what_the_model_says(store: Store) -> None:
    Protocol.store = store
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # type: ignore[no-untyped-call]
