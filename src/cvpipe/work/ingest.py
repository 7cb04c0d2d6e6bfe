"""Ingest: index a video once, plan a job's chunks."""

from __future__ import annotations

import json
from pathlib import Path

from cvpipe.engine import plan_chunks
from cvpipe.errors import InvalidRequest, MediaUnreadable
from cvpipe.inference.cards import find_card
from cvpipe.job import JobError, JobState
from cvpipe.pipeline import PipelineSpec, parse_pipeline, plan_segments, select_frames
from cvpipe.results import stream_ms
from cvpipe.sources.upload import stored_path
from cvpipe.store import Ring
from cvpipe.video import VideoIndex
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.planned import time_range_of
from cvpipe.work.source import locate


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
        index = _index(bench, video, path)
        numbers = select_frames(spec, index, time_range_of(doc))
        if not len(numbers):
            raise InvalidRequest("no frame of the video lies in the range", field="range")
        chunks = plan_chunks(index, numbers, doc["chunk_seconds"])
        segments = [{"kind": s.kind, "queue": s.queue, "stages": list(s.stages)} for s in plan_segments(spec)]
        rings = bench.store.plan(
            lease.claim,
            name,
            segments=segments,
            chunks=[(c.first, c.stop, stream_ms(float(index.times[c.first]))) for c in chunks],
            frames_total=len(numbers),
            video=video,
            models=_models_of(bench, spec),
        )
        bench.bell.ring(rings)


def _probe(bench: Bench, task: str, video: str) -> None:
    def fail(lease: Lease, error: JobError) -> list[Ring]:
        bench.store.put_video(video, state="failed", error=error.model_dump_json())
        bench.store.drop(lease.claim)
        return []

    with leased(bench, task, on_given_up=fail) as lease:
        if lease is not None:
            _index(bench, video, stored_path(bench.settings.data_dir, video))
            bench.store.drop(lease.claim)


def _index(bench: Bench, video: str, path: Path) -> VideoIndex:
    """The video's index, made once and kept in the store."""
    packed = bench.store.video_index(video)
    if packed is not None:
        return VideoIndex.unpack(packed)
    if not path.is_file():
        raise MediaUnreadable("the video's file is gone; upload it again", field="video")
    index = bench.decoders.index(path)
    bench.store.put_video(
        video,
        size=path.stat().st_size,
        state="ready",
        error="",
        facts=json.dumps(index.facts.to_dict()),
        index=index.pack(),
    )
    return index


def _models_of(bench: Bench, spec: PipelineSpec) -> dict[str, str]:
    cards = [find_card(bench.settings.models_path, reference) for reference in spec.models()]
    return {f"{card.name}@{card.version}": card.sha256 for card in cards}
