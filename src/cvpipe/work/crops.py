"""Crops of a job: chosen from all its records, cut out chunk by chunk, and put to the vote track by track."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cvpipe.engine import CropsRunner, Picking, vote_tracks
from cvpipe.exports.crops import CROPS_FOLDER, keep_picture
from cvpipe.lifecycle import job_folder
from cvpipe.pipeline import Segment
from cvpipe.store import Ring
from cvpipe.tracks import CropRecord, TrackRecord, TrackTable
from cvpipe.work.bench import Bench, Lease
from cvpipe.work.planned import Part, PlannedJob, all_records

_FLUSH_CROPS: Final = 16
_FLUSH_TRACKS: Final = 500


def run_picks(bench: Bench, lease: Lease, job: PlannedJob, part: Part, segment: Segment) -> list[Ring]:
    """Choose from all records of the job what is to be cut out; one task for the whole job."""
    facts = job.index.facts
    picking = Picking(job.spec, segment, (facts.display_width, facts.display_height))
    for record in all_records(bench.store, part.job):
        lease.check()
        picking.add(record)
    seconds = bench.settings.lease_seconds
    picks = picking.picks(job.chunks)
    bench.store.keep_picks(lease.claim, part.job, part.segment + 1, picks, lease_seconds=seconds)
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, state=picking.table.state())


def run_crops(bench: Bench, lease: Lease, job: PlannedJob, part: Part, segment: Segment) -> list[Ring]:
    """Cut the picks of a chunk out, and show them to the stages that look at crops.

    A picture is on disk before its record is in the store. After a crash it goes on behind the last record.
    """
    picks = bench.store.picks(part.job, part.segment, part.chunk)
    done = bench.store.crops_done(part.job, part.segment, part.chunk)
    folder = crops_folder(bench, part.job)
    pending: dict[int, CropRecord] = {}

    def flush() -> None:
        seconds = bench.settings.lease_seconds
        if pending:
            bench.store.append_crops(lease.claim, part.job, part.segment, part.chunk, pending, lease_seconds=seconds)
            pending.clear()

    with bench.working_for(part.job, priority=job.doc["priority"], lease=lease):
        runner = CropsRunner(job.spec, segment, bench.tools)  # may wait for room: not with models in its hands
        with bench.holding(job.spec, segment):
            found = runner.run(bench.decoders, job.file(bench, lease), job.index, picks[done:], check=lease.check)
            for place, crop, jpeg in found:
                lease.check()
                keep_picture(folder, crop, jpeg)
                pending[done + place] = crop
                if len(pending) == _FLUSH_CROPS:
                    flush()
            flush()
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk)


def run_tracks(bench: Bench, lease: Lease, job: PlannedJob, part: Part, segment: Segment) -> list[Ring]:
    """Put what was found out about the crops of each track to the vote; one task for the whole job."""
    state = bench.store.sequence_state(part.job, _place(job, "picks"))
    table = TrackTable() if state is None else TrackTable.of(state)  # None: the choice of crops was given up
    keep_tracks(bench, lease, part.job, vote_tracks(job.spec, segment, table, all_crops(bench, job, part.job)))
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk)


def keep_tracks(bench: Bench, lease: Lease, job_id: str, tracks: Iterable[TrackRecord]) -> None:
    """Have all tracks of a job in the store; those already there are skipped. Raises: LeaseLost, Stopping."""
    seconds = bench.settings.lease_seconds
    pending: list[TrackRecord] = []
    first = 0
    for track in tracks:
        lease.check()
        pending.append(track)
        if len(pending) == _FLUSH_TRACKS:
            bench.store.append_tracks(lease.claim, job_id, first, pending, lease_seconds=seconds)
            first, pending = first + len(pending), []
    bench.store.append_tracks(lease.claim, job_id, first, pending, lease_seconds=seconds)


def all_crops(bench: Bench, job: PlannedJob, job_id: str) -> Iterator[CropRecord]:
    """Every crop of a job, chunk by chunk; memory: those of one chunk."""
    for chunk in job.chunks:
        yield from bench.store.crops(job_id, _place(job, "crops"), chunk.number)


def all_tracks(bench: Bench, job_id: str) -> Iterator[TrackRecord]:
    """Every track of a job, in the order in which they begin; memory: a page."""
    done, is_over = 0, False
    while not is_over:
        page, is_over = bench.store.tracks(job_id, after=done)
        done += len(page)
        yield from page


def has_crops(job: PlannedJob) -> bool:
    """Whether the pipeline makes crops."""
    return any(segment.kind == "crops" for segment in job.segments)


def crops_folder(bench: Bench, job_id: str) -> Path:
    """Where the pictures of a job's crops lie."""
    return job_folder(bench.settings, job_id) / CROPS_FOLDER


def _place(job: PlannedJob, kind: str) -> int:
    return next(number for number, segment in enumerate(job.segments) if segment.kind == kind)


RUN: Final[Mapping[str, Callable[[Bench, Lease, PlannedJob, Part, Segment], list[Ring]]]] = {
    "picks": run_picks,
    "crops": run_crops,
    "tracks": run_tracks,
}
