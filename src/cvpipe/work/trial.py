"""Trial: what a job would take, from about two seconds of its work. Nothing of what is found is kept."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.engine import SequenceRunner
from cvpipe.job import Estimate, JobError, JobState, Prediction
from cvpipe.results import FrameRecord
from cvpipe.store import Ring
from cvpipe.work.afterwards import Extra, try_afterwards
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.footprint import memory_of_workers
from cvpipe.work.planned import PlannedJob

TRIAL_SECONDS: Final = 2.0
_SPOTS: Final = 4
_LEAST, _MOST = 0.7, 1.5  # how far off a measurement of so short a time may be, beside what the spots differ by
_END_SECONDS: Final = 3.0  # what a job's ingest, its end and the waits between may take


@dataclass(frozen=True, slots=True)
class _Spot:
    """What was measured at one place of the video. begin: seconds until the first record, beside its own."""

    records: list[FrameRecord]
    begin: float
    per_frame: float
    bytes_per_frame: float


def trial(bench: Bench, task: str) -> None:
    """Task `trial:<job>`: measure, predict, and end the job."""
    job_id = task.partition(":")[2]

    def fail(lease: Lease, error: JobError) -> list[Ring]:
        return bench.store.end_job(lease.claim, job_id, JobState.failed, error=error, exports=[])

    with leased(bench, task, on_given_up=fail) as lease:
        if lease is None:
            return
        job = PlannedJob.load(bench, job_id)
        with bench.working_for(job_id, priority=job.doc["priority"], lease=lease):
            spots = _measure(bench, lease, job)
            extras = try_afterwards(
                bench, lease, job, job_id, [spot.records for spot in spots], threads=_threads(bench, job)
            )
        prediction = _predict(spots, extras, job, threads=_threads(bench, job), memory_bytes=memory_of_workers())
        rings = bench.store.end_job(
            lease.claim, job_id, JobState.succeeded, error=None, exports=[],
            facts={"prediction": prediction.model_dump_json()},
        )  # fmt: skip
        bench.bell.ring(rings)


def _measure(bench: Bench, lease: Lease, job: PlannedJob) -> list[_Spot]:
    """Work at places that are spread over the video, an equal time at each."""
    chunks = sorted({round(n) for n in np.linspace(0, len(job.chunks) - 1, min(_SPOTS, len(job.chunks)))})
    _try(bench, lease, job, job.frames_of(chunks[0])[:1], seconds=0)  # networks are opened, decoders started
    return [_try(bench, lease, job, job.frames_of(n), seconds=TRIAL_SECONDS / len(chunks)) for n in chunks]


def _try(bench: Bench, lease: Lease, job: PlannedJob, numbers: npt.NDArray[np.int64], *, seconds: float) -> _Spot:
    """Do what the tasks of a chunk do, for a while or to its end."""
    path, size = job.file(bench, lease), (job.index.facts.display_width, job.index.facts.display_height)
    records: list[FrameRecord] = []
    maps: list[int] = []
    begin = per_frame = 0.0
    for number, segment in enumerate(job.segments):
        began = first_at = time.monotonic()
        if segment.kind == "frames":
            upstream = {record.frame: record for record in records} if number else None
            wanted = np.array([record.frame for record in records], np.int64) if number else numbers
            found: Iterator[FrameRecord] = bench.runner(job.spec, segment).run(
                bench.decoders,
                path,
                job.index,
                job.selection,
                wanted,
                upstream=upstream,
                on_map=lambda _name, png: maps.append(len(png)),
            )
        elif segment.kind == "sequence":
            found = SequenceRunner(job.spec, segment, bench.tools, size=size).run_whole(records)
        else:
            break
        records = []
        with bench.holding(job.spec, segment):
            for record in found:
                lease.check()
                records.append(record)
                if len(records) == 1:
                    first_at = time.monotonic()
                if number == 0 and time.monotonic() - first_at >= seconds:
                    break
        if isinstance(found, Generator):
            found.close()  # its decoder goes back
        each = (time.monotonic() - first_at) / max(1, len(records) - 1)
        begin, per_frame = begin + first_at - began, per_frame + each
    written = sum(len(record.to_json()) + 1 for record in records) + sum(maps)
    return _Spot(records, begin, per_frame, written / max(1, len(records)))


def _predict(
    spots: Sequence[_Spot], extras: Sequence[Extra], job: PlannedJob, *, threads: int, memory_bytes: int
) -> Prediction:
    frames, chunks = len(job.numbers), len(job.chunks)
    begin, per_frame, size = (
        np.array([getattr(spot, name) for spot in spots]) for name in ("begin", "per_frame", "bytes_per_frame")
    )
    at_once = min(chunks, threads)
    least = 0 if job.doc.get("stop_when") else _LEAST  # it may have seen enough at once

    def seconds(of_chunk: float, of_frame: float, at_once: float) -> float:
        return float(chunks * of_chunk + frames * of_frame) / at_once

    likely = seconds(float(np.median(begin)), float(per_frame.mean()), at_once)
    return Prediction(
        seconds=Estimate.of(
            likely + sum(extra.seconds[1] for extra in extras),
            sum(extra.seconds[0] for extra in extras)
            + least * seconds(float(begin.min()), float(per_frame.min()), at_once),
            # Threads that share memory and caches are at worst half as fast as alone.
            _MOST * seconds(float(begin.max()), float(per_frame.max()), max(1, at_once / 2))
            + _END_SECONDS
            + sum(extra.seconds[2] for extra in extras),
        ),
        memory_bytes=Estimate.of(memory_bytes, _LEAST * memory_bytes, _MOST * memory_bytes),
        output_bytes=Estimate.of(
            frames * float(size.mean()) + sum(extra.size[1] for extra in extras),
            least * frames * float(size.min()) + sum(extra.size[0] for extra in extras),
            _MOST * frames * float(size.max()) + sum(extra.size[2] for extra in extras),
        ),
        frames=frames,
        frames_tried=sum(len(spot.records) for spot in spots),
        threads=at_once,
    )


def _threads(bench: Bench, job: PlannedJob) -> int:
    """How many chunks can be worked on at once: by all workers that listen to the queue of the first segment."""
    queue = job.segments[0].queue
    return max(1, sum(worker.threads for worker in bench.store.workers() if queue in worker.queues))
