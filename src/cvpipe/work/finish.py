"""Finish: exports, then the final state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvpipe.exports.ndjson import write_ndjson
from cvpipe.job import JobError, JobState
from cvpipe.lifecycle import job_folder
from cvpipe.pipeline import frames_in_range
from cvpipe.results import FrameRecord
from cvpipe.store import Ring
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.planned import PlannedJob, all_records


def finish(bench: Bench, task: str) -> None:
    """Task `finish:<job>`: exports, then the final state."""
    job_id = task.partition(":")[2]

    def fail(lease: Lease, error: JobError) -> list[Ring]:
        return bench.store.end_job(lease.claim, job_id, JobState.failed, error=error, exports=[])

    with leased(bench, task, on_given_up=fail) as lease:
        if lease is None:
            return
        job = bench.store.job(job_id)
        folder = job_folder(bench.settings, job_id)
        folder.mkdir(parents=True, exist_ok=True)
        damaged = 0

        def records() -> Iterator[FrameRecord]:
            nonlocal damaged
            for record in all_records(bench.store, job_id):
                lease.check()
                damaged += record.status != "ok"
                yield record

        write_ndjson(folder / "frames.ndjson", records())
        exports = ["frames.ndjson"]
        if job.annotate:
            _annotate(bench, lease, job_id, folder)
            exports.append("annotated.mp4")
        gaps = job.progress.chunks_failed > 0 or damaged > 0
        error = job.error
        if gaps and error is None:
            error = JobError(code="frames_damaged", message=f"{damaged} frames could not be decoded")
        every = gaps and job.progress.chunks_failed == job.progress.chunks_total
        state = JobState.failed if every else JobState.succeeded_with_gaps if gaps else JobState.succeeded
        rings = bench.store.end_job(lease.claim, job_id, state, error=error if gaps else None, exports=exports)
        bench.bell.ring(rings)


def _annotate(bench: Bench, lease: Lease, job_id: str, folder: Path) -> None:
    from cvpipe.exports.annotated import write_annotated

    job = PlannedJob.load(bench, job_id)
    write_annotated(
        folder / "annotated.mp4",
        bench.decoders,
        job.file(bench, lease),
        job.index,
        all_records(bench.store, job_id),
        bench.tools.cv2,
        numbers=frames_in_range(job.index, job.time_range),
        on_progress=lambda _done, _total: lease.check(),
    )
