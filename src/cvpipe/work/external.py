"""Calls outside of a job: one task for all of them, in turns; what was answered is not asked again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from cvpipe.calls import CallRecord
from cvpipe.engine import OutsideRunner
from cvpipe.pipeline import Policy, Segment
from cvpipe.store import Ring
from cvpipe.tenants import id_of
from cvpipe.work.bench import Bench, Lease
from cvpipe.work.crops import all_crops, has_crops
from cvpipe.work.planned import Part, PlannedJob, all_events, all_records

TURN_SECONDS: Final = 60.0
"""After so much work the task makes way for others."""


class _StoreLedger:
    """The job's ledger in the store."""

    def __init__(self, bench: Bench, lease: Lease, job_id: str) -> None:
        self._bench, self._lease, self._job_id = bench, lease, job_id

    def known(self) -> Mapping[str, CallRecord]:
        """All calls written so far, by id."""
        return {call.id: call for call in self._bench.store.all_calls(self._job_id)}

    def put(self, call: CallRecord) -> None:
        """Raises: LeaseLost."""
        seconds = self._bench.settings.lease_seconds
        self._bench.store.put_call(self._lease.claim, self._job_id, call, lease_seconds=seconds)


def run_external(bench: Bench, lease: Lease, job: PlannedJob, part: Part, segment: Segment) -> list[Ring]:
    """Ask servers outside; a turn of a minute, then the task goes back to its queue, and on from there."""
    until = time.monotonic() + TURN_SECONDS
    policy = Policy.of(bench.settings.outside_pictures)
    rounds = bench.store.job(part.job).rounds
    runner = OutsideRunner(job.spec, segment, bench.tools, job=id_of(part.job), policy=policy, rounds=rounds)
    for record in all_records(bench.store, part.job):
        lease.check()
        runner.add(record)
    if has_crops(job):
        for crop in all_crops(bench, job, part.job):
            runner.add_crop(crop)
    if job.spec.tells_events():
        for event in all_events(bench.store, part.job):
            runner.add_event(event)
    is_done = runner.run(
        bench.way_for_stages,
        bench.secrets,
        _StoreLedger(bench, lease, part.job),
        decoders=bench.decoders,
        path=job.file(bench, lease),
        index=job.index,
        check=lease.check,
        is_turn_over=lambda: time.monotonic() >= until,
    )
    if not is_done:
        return bench.store.release(lease.claim, progressed=True)
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk)


def has_calls(job: PlannedJob) -> bool:
    """Whether the pipeline asks servers outside."""
    return any(segment.kind == "external" for segment in job.segments)
