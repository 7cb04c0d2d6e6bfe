"""Chunks: run a segment on a chunk, or give the chunk up so that the job can go on without it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from cvpipe.engine import SequenceRunner
from cvpipe.errors import CallFailed, InvalidRequest, LeaseLost, NotFound, StageFailed, Unavailable
from cvpipe.events import Event
from cvpipe.exports.maps import keep_map
from cvpipe.job import JobError, JobState, Stopped
from cvpipe.lifecycle import job_folder
from cvpipe.log import fields
from cvpipe.pipeline import Segment
from cvpipe.results import FrameRecord
from cvpipe.stages import looks_back
from cvpipe.store import Ring
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.crops import RUN
from cvpipe.work.external import run_external
from cvpipe.work.footprint import memory_of_workers
from cvpipe.work.memories import Memories, forget_if_canceled
from cvpipe.work.planned import Part, PlannedJob
from cvpipe.work.reuse import taken_over

log = logging.getLogger(__name__)

_FLUSH_RECORDS = 16
_FLUSH_SECONDS = 0.1


def work(bench: Bench, task: str) -> None:
    """Task `chunk:<job>:<segment>:<chunk>`: run a segment on a chunk."""
    part = Part.parse(task)

    def give_up(lease: Lease, error: JobError) -> list[Ring]:
        if error.code == CallFailed.code:  # the pipeline says that the job is not to go on without it
            return bench.store.end_job(lease.claim, part.job, JobState.failed, error=error, exports=[])
        log.error("chunk given up: %s %s", error.message, fields(task=task, code=error.code))
        return _fill(bench, lease, part, error)

    with leased(bench, task, on_given_up=give_up) as lease:
        if lease is None:
            forget_if_canceled(bench, part.job)
            return
        job = PlannedJob.load(bench, part.job)
        segment = job.segments[part.segment]
        try:
            if segment.kind == "frames":
                bench.bell.ring(_run_frames(bench, lease, job, part, segment))
            elif segment.kind == "sequence":
                bench.bell.ring(_run_sequence(bench, lease, job, part))
            elif segment.kind == "external":
                bench.bell.ring(run_external(bench, lease, job, part, segment))
            else:
                bench.bell.ring(RUN[segment.kind](bench, lease, job, part, segment))
        except LeaseLost:
            forget_if_canceled(bench, part.job)
            raise


class _Appender:
    """Appends records in pipelines of 16, or what there is after 0.1 s: quick for the first, cheap for the rest."""

    def __init__(
        self,
        bench: Bench,
        lease: Lease,
        job: str,
        stream: tuple[int, int] | None,
        *,
        counted: bool,
        events: Collection[str] = (),
    ) -> None:
        self._args = (lease.claim, job, stream)
        self._bench = bench
        self._lease = lease
        self._counted = counted
        self._pending: list[FrameRecord] = []
        self._told: list[tuple[str, Event]] = []
        self._flushed_at = 0.0
        self._tells_first = counted and "job.first_object" in events

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was done before an error too: whoever goes on begins behind it."""
        if error is None:
            self.flush()
        else:
            with suppress(LeaseLost, Unavailable):
                self.flush()

    def add(self, record: FrameRecord) -> None:
        """Take a record. Raises: LeaseLost, Stopping."""
        self._pending.append(record)
        self._lease.check()  # behind it: what is done before the task goes back is kept
        if len(self._pending) >= _FLUSH_RECORDS or time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            self.flush()

    def tell(self, events: Sequence[tuple[str, Event]]) -> None:
        """Take events, with their ids; they are written with the records."""
        self._told += events

    def flush(self) -> None:
        """Write what is pending. Raises: LeaseLost."""
        seconds = self._bench.settings.lease_seconds
        if self._told:
            claim, job, _ = self._args
            self._bench.bell.ring(self._bench.store.append_events(claim, job, self._told, lease_seconds=seconds))
            self._told = []
        if self._pending:
            self._bench.store.append(*self._args, self._pending, lease_seconds=seconds, counted=self._counted)
            if self._tells_first:
                self._tell_first()
            self._pending = []
        self._flushed_at = time.monotonic()

    def _tell_first(self) -> None:
        """Tell of the first object that anybody has found in the job's video."""
        first = next((record for record in self._pending if len(record.objects)), None)
        if first is not None:
            self._tells_first = False
            data = {"frame": first.frame, "time": first.time, "objects": first.to_dict()["objects"]}
            rings = self._bench.store.announce(self._args[1], "job.first_object", {"first_object": data}, once=True)
            self._bench.bell.ring(rings)


def _run_frames(bench: Bench, lease: Lease, job: PlannedJob, part: Part, segment: Segment) -> list[Ring]:
    kept = _kept(bench, job, part)
    numbers = job.frames_of(part.chunk)
    if not job.is_counted(part.segment) and kept:
        numbers = np.array([n for n in numbers.tolist() if n not in kept], np.int64)
        kept = {}
    if not segment.in_order:  # else what follows depends on all of the chunk; what is written is not written twice
        last = bench.store.last_frame(part.job, part.segment, part.chunk)
        numbers = numbers[numbers > last]  # after a crash: go on behind what is written
    upstream = None
    if part.segment > 0:
        upstream = {r.frame: r for r in bench.store.chunk_records(part.job, part.segment - 1, part.chunk)}
    elif job.doc.get("from"):
        upstream = taken_over(bench, part.job, part.chunk)
    again = np.array([n for n in numbers.tolist() if n not in kept], np.int64)
    counted = job.is_counted(part.segment)
    stop, stops = job.stop_in(part.segment), False
    memories = Memories(bench, part) if segment.in_order else None
    states = None if memories is None else memories.load()
    with bench.working_for(part.job, priority=job.doc["priority"], lease=lease):
        runner = bench.runner(job.spec, segment)
        with bench.holding(job.spec, segment):
            found = runner.run(
                bench.decoders,
                job.file(bench, lease),
                job.index,
                job.selection,
                again,
                upstream=upstream,
                states=states,
                on_map=partial(_keep_map, lease, job_folder(bench.settings, part.job)),
            )
            with _Appender(
                bench,
                lease,
                part.job,
                (part.segment, part.chunk),
                counted=counted,
                events=job.doc.get("webhook_events", ()),
            ) as appender:
                for number in numbers.tolist():
                    record = kept[number] if number in kept else next(found)
                    stops = stop is not None and stop.holds(record)
                    if stops:
                        _stop_at(bench, lease, job, part, record)
                    appender.add(record)
                    if stops:
                        break
                else:
                    next(found, None)  # it is through
            found.close()  # its decoder goes back
            if job.doc.get("prediction") is not None:
                bench.store.note_memory(part.job, memory_of_workers())
    if memories is None or stops:
        return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk)
    with memories.saving(runner.states(), lease.claim.token) as state:
        return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, state=state)


def _stop_at(bench: Bench, lease: Lease, job: PlannedJob, part: Part, record: FrameRecord) -> None:
    """The job ends with this record. Said before it is written: who goes on after a crash finds a plan that ends here.

    Raises: LeaseLost.
    """
    stopped = Stopped(frame=record.frame, time=record.time, condition=job.doc["stop_when"])
    log.info("the job has seen enough %s", fields(job=part.job, frame=record.frame))
    bench.store.stop_at(
        lease.claim, part.job, part.chunk, stopped,
        frames_total=int(np.searchsorted(job.numbers, record.frame, side="right")),
        lease_seconds=bench.settings.lease_seconds,
    )  # fmt: skip


def _keep_map(lease: Lease, folder: Path, name: str, png: bytes) -> None:
    lease.check()  # a job that was deleted gets no folder again
    keep_map(folder, name, png)


def _kept(bench: Bench, job: PlannedJob, part: Part) -> dict[int, FrameRecord]:
    """Of a chunk that is being repaired: the records that stay as they are, by frame; none of any other chunk.

    Where a stage looks back over frames, the records next to a gap were made without it: then all are made anew.
    """
    old = bench.store.old_records(part.job, job.last_frames_segment, part.chunk)
    if not old or any(map(looks_back, job.spec.make_stages())):
        return {}
    return {record.frame: record for record in old if record.status == "ok"}


def _run_sequence(bench: Bench, lease: Lease, job: PlannedJob, part: Part) -> list[Ring]:
    runner, stop = _sequence_runner(bench, job, part), job.stop_in(part.segment)
    with _Appender(bench, lease, part.job, None, counted=False) as appender:
        is_last = part.chunk + 1 == len(job.chunks)
        below = bench.store.chunk_records(part.job, part.segment - 1, part.chunk)
        for record in runner.run(one for one in below if one.frame < job.chunks[part.chunk].stop):
            told = runner.take_events()
            stops = stop is not None and stop.holds(record, [event for _, event in told])
            if stops:
                _stop_at(bench, lease, job, part, record)
            appender.add(record)
            appender.tell(told)
            if stops:
                is_last = True
                break
        if is_last:
            for record in runner.finish():
                appender.add(record)
            appender.tell(runner.take_events())
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, state=runner.state())


def _sequence_runner(bench: Bench, job: PlannedJob, part: Part) -> SequenceRunner:
    """The segment as it is after the chunk before."""
    size = (job.index.facts.display_width, job.index.facts.display_height)
    runner = SequenceRunner(job.spec, job.segments[part.segment], bench.tools, size=size)
    state = bench.store.sequence_state(part.job, part.segment)
    if state is not None:
        runner.restore(state)
    return runner


def _state_without(
    bench: Bench, lease: Lease, job: PlannedJob, part: Part, error: JobError
) -> tuple[dict[str, Any] | None, list[FrameRecord]]:
    """The state that the next chunk goes on from where this one is given up: that of the chunk before.

    And the records of earlier chunks that were held back until now; where the stages can't go on, these have failed
    too. What the failed attempts have told stays in the log, so that what comes next is told behind it. Where there is
    no next chunk, what still went on before this one ends, where the stages can do that.
    """
    try:
        runner = _sequence_runner(bench, job, part)
        last = bench.store.last_event(part.job)
        if last is not None:
            runner.tell_behind(last[0])
        has_ended = last is not None and not last[1].is_over  # by a worker that died before its next line
        held = runner.release()
        if part.chunk + 1 == len(job.chunks) and not has_ended:
            runner.finish()
    except (StageFailed, NotFound, InvalidRequest) as why:  # it may be why the chunk is given up
        log.warning("what went on is not told: %s %s", why, fields(job=part.job))
        before = bench.store.sequence_state(part.job, part.segment)
        if before is None:
            return None, []
        state, held = SequenceRunner.let_go(before)
        return state, [replace(record, status="failed", error=error.code) for record in held]
    if events := runner.take_events():
        rings = bench.store.append_events(lease.claim, part.job, events, lease_seconds=bench.settings.lease_seconds)
        bench.bell.ring(rings)
    return runner.state(), held


def _fill(bench: Bench, lease: Lease, part: Part, error: JobError) -> list[Ring]:
    """Give a chunk up: its missing records say so, the job goes on without it.

    A chunk that was being repaired keeps what was good before.
    """
    job = PlannedJob.load(bench, part.job)
    if job.segments[part.segment].kind not in ("frames", "sequence"):  # the records are whole: what is missing is less
        return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, failed=error)
    is_frames = job.segments[part.segment].kind == "frames"
    old_records = bench.store.old_records(part.job, job.last_frames_segment, part.chunk) if is_frames else []
    good = {record.frame: record for record in old_records if record.status == "ok"}
    is_last = job.is_counted(part.segment)
    known: dict[int, FrameRecord] = {}
    if part.segment > 0:
        known = {r.frame: r for r in bench.store.chunk_records(part.job, part.segment - 1, part.chunk)}
    records = []
    for number in job.frames_of(part.chunk).tolist():
        if number in good and is_last:
            records.append(good[number])
            continue
        old = known.get(number) or job.selection.record(number)
        records.append(replace(old, status="failed", error=error.code))
    state, held = (None, []) if is_frames else _state_without(bench, lease, job, part, error)
    records = held + records
    stream = (part.segment, part.chunk) if is_frames else None
    counted = is_frames and job.is_counted(part.segment)
    for start in range(0, len(records), 500):
        bench.store.append(
            lease.claim, part.job, stream, records[start : start + 500],
            lease_seconds=bench.settings.lease_seconds, counted=counted,
        )  # fmt: skip
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, failed=error, state=state)
