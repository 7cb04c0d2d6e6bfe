"""Ingest: index a video once, plan a job's chunks."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta

from cvpipe import __version__
from cvpipe.engine import plan_chunks
from cvpipe.inference.cards import find_card
from cvpipe.job import JobError, JobState, WallClock, seconds_of
from cvpipe.pipeline import (
    PipelineSpec,
    addresses_of,
    check_fit,
    nothing_left,
    parse_pipeline,
    plan_segments,
    select_frames,
)
from cvpipe.results import stream_ms
from cvpipe.store import Ring
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.planned import time_range_of
from cvpipe.work.reuse import take_over
from cvpipe.work.source import index_of, locate, video_file


def ingest(bench: Bench, task: str) -> None:
    """Task `probe:<video>`: index an upload. Task `ingest:<job>`: index the job's video and plan its chunks."""
    kind, _, name = task.partition(":")
    if kind == "probe":
        _probe(bench, task, name)
        return

    def fail(lease: Lease, error: JobError) -> list[Ring]:
        return bench.store.end_job(lease.claim, name, JobState.failed, error=error, exports=[])

    with leased(bench, task, on_given_up=fail) as lease:
        if lease is None:
            return
        doc = bench.store.job_doc(name)
        spec = parse_pipeline(doc["pipeline"])
        path, video = locate(bench, doc, lease)
        index = index_of(bench, video, path)
        if doc["path"] is not None:
            bench.store.put_video(video, path=str(path))  # pictures of the video may be asked for later
        check_fit(spec, index.facts.display_width, index.facts.display_height)
        selection = select_frames(spec, index, time_range_of(doc), starts_at=doc.get("starts_at"))
        numbers = selection.numbers
        if not len(numbers):
            raise nothing_left(index, time_range_of(doc))
        chunks = plan_chunks(index, numbers, doc["chunk_seconds"])
        models = _models_of(bench, spec)
        addresses = addresses_of(spec, selection, video=video, models=models, version=__version__)
        reused = take_over(
            bench, lease, name, doc.get("from"), spec=spec, new=addresses, chunks=chunks, numbers=numbers
        )
        segments = [
            {"kind": s.kind, "queue": s.queue, "stages": list(s.stages), "in_order": s.in_order}
            for s in plan_segments(spec, without=reused)
        ]
        rings = bench.store.plan(
            lease.claim,
            name,
            segments=segments,
            chunks=[(c.first, c.stop, stream_ms(float(index.times[c.first]))) for c in chunks],
            frames_total=len(numbers),
            video=video,
            models=models,
            video_seconds=0 if doc.get("dry_run") else seconds_of(index.facts.duration_seconds, time_range_of(doc)),
            wall_clock=_wall_clock(selection.starts_at, given=doc.get("starts_at") is not None),
            addresses=[astuple(address) for address in addresses],
            trial_queue=str(segments[0]["queue"]) if doc.get("dry_run") else None,
            reused=[spec.make_stages()[position].name for position in reused],
        )
        bench.bell.ring(rings)


def _probe(bench: Bench, task: str, video: str) -> None:
    def fail(lease: Lease, error: JobError) -> list[Ring]:
        if bench.store.video_index(video) is None:  # else it was made again, for a newer version of cvpipe
            bench.store.put_video(video, state="failed", error=error.model_dump_json())
        bench.store.refuse(lease.claim, error)
        return []

    with leased(bench, task, on_given_up=fail) as lease:
        if lease is not None:
            index_of(bench, video, video_file(bench, video, lease))
            bench.store.drop(lease.claim)


def _wall_clock(starts_at: float | None, *, given: bool) -> WallClock | None:
    if starts_at is None:
        return None
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(starts_at * 1000))
    return WallClock(start=start, source="job" if given else "file")


def _models_of(bench: Bench, spec: PipelineSpec) -> dict[str, str]:
    cards = [find_card(bench.settings.models_path, reference) for reference in spec.models()]
    return {f"{card.name}@{card.version}": card.sha256 for card in cards}
