"""Taking over: records of a job that is done, for one that has the same stages on the same frames.

They are copied at ingest, into a folder of the new job: what becomes of the other job is then no matter. Of a job with
a sequence, whose records have been added to, those from before are kept in a file at its end.
"""

from __future__ import annotations

import gzip
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgpack
import numpy as np
import numpy.typing as npt

from cvpipe.engine import Chunk, frames_of
from cvpipe.errors import NotFound
from cvpipe.job import JobState
from cvpipe.lifecycle import job_folder
from cvpipe.log import fields
from cvpipe.pipeline import Address, PipelineSpec, find_reuse
from cvpipe.results import FrameRecord
from cvpipe.work.bench import Bench, Lease
from cvpipe.work.planned import PlannedJob, all_records

log = logging.getLogger(__name__)

_KEPT: Final = ".frames.records"
_TAKEN: Final = ".taken"
_DONE: Final = (JobState.succeeded, JobState.succeeded_with_gaps)


def keep_inputs(bench: Bench, lease: Lease, job_id: str, planned: PlannedJob) -> None:
    """At the end of a job with a sequence: keep the records that the sequence was made from."""
    if all(segment.kind != "sequence" for segment in planned.segments):
        return

    def records() -> Iterator[FrameRecord]:
        for chunk in planned.chunks:
            lease.check()
            yield from bench.store.chunk_records(job_id, planned.last_frames_segment, chunk.number)

    _write(job_folder(bench.settings, job_id) / _KEPT, records())


def take_over(
    bench: Bench, lease: Lease, job_id: str, base: str | None, *, spec: PipelineSpec, new: Sequence[Address],
    chunks: Sequence[Chunk], numbers: npt.NDArray[np.int64],
) -> tuple[int, ...]:  # fmt: skip
    """Copy what a job can use of the job `base`; returns positions of the stages that need not run.

    new: addresses of its own stages. numbers: of all frames that it looks at. Nothing is taken of one that is gone,
    or of which chunks were given up.
    """
    if base is None:
        return ()
    folder = job_folder(bench.settings, job_id) / _TAKEN
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that died at this place
    try:
        if bench.store.job(base).state not in _DONE:
            return ()
        reuse = find_reuse(spec, new, [Address(*row) for row in bench.store.addresses(base)])
        found = None if reuse is None else _records_of(bench, base)
        if reuse is None or found is None:
            log.info("nothing can be taken over %s", fields(job=job_id, base=base))
            return ()
        folder.mkdir(parents=True)
        for chunk, records in _by_chunk(found, chunks):
            lease.check()
            looked_at = [record.frame for record in records if record.status != "failed"]
            if looked_at != frames_of(chunk, numbers).tolist():
                log.info("not all frames were looked at, so nothing is taken over %s", fields(job=job_id, base=base))
                shutil.rmtree(folder)
                return ()
            _write(_of_chunk(folder, chunk.number), map(reuse.of, records))
    except NotFound:
        shutil.rmtree(folder, ignore_errors=True)
        return ()
    return reuse.stages


def taken_over(bench: Bench, job_id: str, chunk: int) -> dict[int, FrameRecord]:
    """The records of a chunk that were taken over, by frame; none of a job that took over none."""
    file = _of_chunk(job_folder(bench.settings, job_id) / _TAKEN, chunk)
    return {record.frame: record for record in _read(file)} if file.exists() else {}


def _records_of(bench: Bench, base: str) -> Iterator[FrameRecord] | None:
    """A job's records behind its last frame stage; None where they were not kept."""
    segments = bench.store.job_plan(base).segments
    if all(segment["kind"] != "sequence" for segment in segments):
        return all_records(bench.store, base)
    kept = job_folder(bench.settings, base) / _KEPT
    return _read(kept) if kept.exists() else None


def _by_chunk(
    records: Iterator[FrameRecord], chunks: Sequence[Chunk]
) -> Iterator[tuple[Chunk, list[FrameRecord]]]:  # fmt: skip
    """Memory: the records of one chunk."""
    pending = next(records, None)
    for chunk in chunks:
        part = []
        while pending is not None and pending.frame < chunk.stop:
            part.append(pending)
            pending = next(records, None)
        yield chunk, part


def _of_chunk(folder: Path, chunk: int) -> Path:
    return folder / f"{chunk}.records"


def _write(file: Path, records: Iterable[FrameRecord]) -> None:
    """Whole under its name, or not there."""
    part = file.with_name(f"{file.name}.part")
    with gzip.open(part, "wb", compresslevel=1) as out:
        for record in records:
            out.write(msgpack.packb(record.pack()))
    part.replace(file)


def _read(file: Path) -> Iterator[FrameRecord]:
    with gzip.open(file, "rb") as source:
        for packed in msgpack.Unpacker(source):
            yield FrameRecord.unpack(packed)
