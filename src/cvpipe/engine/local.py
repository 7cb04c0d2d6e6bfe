"""A whole job in this process: `cvpipe run`."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvpipe import gaps
from cvpipe.engine.artefacts import write_artefacts
from cvpipe.engine.calling import Calling
from cvpipe.engine.chunks import Chunk, frames_of, plan_chunks, with_short_end
from cvpipe.engine.closely import Closely
from cvpipe.engine.digest import sha256_of
from cvpipe.engine.drawings import shapes_of
from cvpipe.engine.frames import FramesRunner, States, open_runners
from cvpipe.engine.sequence import SequenceRunner
from cvpipe.engine.skeletons import skeletons_of
from cvpipe.engine.summary import Summary
from cvpipe.errors import InvalidRequest
from cvpipe.events import Event
from cvpipe.exports.maps import keep_map, maps_in, remove_maps
from cvpipe.exports.ndjson import NdjsonFile, write_ndjson
from cvpipe.exports.voted import Voted
from cvpipe.inference.shares import Share, working_for
from cvpipe.job import ModelUse, Stopped
from cvpipe.pipeline import (
    PipelineSpec,
    Selection,
    StopCondition,
    check_fit,
    check_stop,
    map_stages,
    nothing_left,
    part_of,
    plan_segments,
    select_frames,
)
from cvpipe.results import FrameRecord, iso_time
from cvpipe.stages import JobStage, Tools
from cvpipe.tracks import TrackRecord, TrackTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cvpipe.job import TimeRange
    from cvpipe.settings import Settings
    from cvpipe.video import Decoders, VideoIndex

_ME = "run"  # the only job of this process

OnProgress = Callable[[int, int], None]


def run_local(
    video: Path,
    pipeline: PipelineSpec,
    out: Path,
    *,
    settings: Settings,
    chunk_seconds: float = 30,
    annotate: bool = False,
    range: TimeRange | None = None,
    starts_at: float | None = None,
    stop_when: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Run a pipeline on a video in this process and write `out/frames.ndjson`, `out/job.json` (and `annotated.mp4`).

    chunk_seconds: longer than a service's by default, for no other worker waits for a chunk here, and each costs 25 ms
    of a decoder process and a wait.
    starts_at: seconds since the epoch at which the video's first frame was taken. Default: what the file says.
    stop_when: a condition; the results end with the first frame for which it holds.
    Returns the job document. on_progress gets (frames done, frames in all) of the records, then of each video that is
    made; from any thread, in order.
    Raises: InvalidRequest, VideoError, InvalidModel, NotFound, DeviceUnavailable, StageFailed.
    """
    from cvpipe.inference import OnnxTools
    from cvpipe.video import Decoders

    if not video.is_file():
        raise InvalidRequest(f"no video file {str(video)!r}")
    check_stop(pipeline, stop_when, field="stop_when")
    threads = settings.threads or len(os.sched_getaffinity(0))
    started = time.time()
    tools = OnnxTools.of(settings)
    out.mkdir(parents=True, exist_ok=True)
    with Decoders.of(settings) as decoders, ThreadPoolExecutor(1) as aside:
        indexing = aside.submit(decoders.index, video)
        runners = open_runners(pipeline, tools)  # takes as long as starting decoders; a wrong model is told first
        index = indexing.result()
        check_fit(pipeline, index.facts.display_width, index.facts.display_height)
        selection = select_frames(pipeline, index, range, starts_at=starts_at)
        if not len(selection):
            raise nothing_left(index, range)
        chunks = plan_chunks(index, selection.numbers, chunk_seconds)
        remove_maps(out, maps_in(out, map_stages(pipeline.make_stages())))  # of an earlier run into the same folder
        for old in (
            "job.json",
            "annotated.mp4",
            "events.ndjson",
            "crops.ndjson",
            "tracks.ndjson",
            "calls.ndjson",
            *_artefacts(pipeline),
        ):  # of an earlier run into the same folder
            (out / old).unlink(missing_ok=True)
        counts = {"ok": 0, "decode_error": 0, "failed": 0}
        summary, finder = Summary(pipeline, selection), gaps.GapFinder()
        log = NdjsonFile(out / "events.ndjson") if pipeline.tells_events() else None
        run = _LocalRun(
            pipeline, tools, decoders, video, index, selection, on_progress, [runners], log=log, out=out,
            stop_when=StopCondition.of(stop_when),
        )  # fmt: skip
        calling = Calling.of(pipeline, tools, settings, video=video)
        closely = Closely.of(pipeline, tools, decoders, video, index)
        table = TrackTable() if closely is None and pipeline.gives_tracks() else None

        def counted() -> Iterator[FrameRecord]:
            for record in run.records(with_short_end(index, chunks, selection.numbers, threads=threads), threads):
                counts[record.status] += 1
                summary.add(record)
                finder.add(record)
                if closely is not None:
                    closely.picking.add(record)
                if calling is not None:
                    calling.add(record)
                yield record

        held = [name for stage in pipeline.make_stages() for name in stage.held()]
        with tools.holding(held), log or nullcontext():
            exports = _write_records(out, counted(), table)
            if run.stopped is not None:
                summary.selection = selection = select_frames(
                    pipeline, index, range, starts_at=starts_at, until=run.stopped.frame
                )
            exports += [] if log is None else ["events.ndjson"]
            if closely is not None:
                with working_for(Share(_ME)):
                    exports += closely.write(out, chunks, threads)
        told: dict[str, Any] = {}
        if calling is not None:
            told = calling.write(out, decoders, video, index)
            exports.append("calls.ndjson")
        processed = time.time()
        until = None if run.stopped is None else run.stopped.frame
        part = part_of(pipeline, index, range, until=until)
        _remove_maps_behind(out, pipeline, until)
        if annotate:
            _annotate_local(out, run, part, settings.models_path)
            exports.append("annotated.mp4")
        exports += maps_in(out, map_stages(pipeline.make_stages()))
        exports += write_artefacts(
            pipeline, out, decoders, video, index, part=part, tools=tools, on_progress=on_progress
        )
    seconds = processed - started
    missing = gaps.missing(index, part, range)
    found = finder.gaps + ([missing] if missing else [])
    job = {
        "state": "succeeded_with_gaps" if found else "succeeded",
        "video": {"path": str(video), "sha256": sha256_of(video), **index.facts.to_dict()},
        "pipeline": pipeline.model_dump(mode="json"),
        "models": tools.used_models(),
        "starts_at": None if selection.starts_at is None else iso_time(selection.starts_at),
        "chunk_seconds": chunk_seconds,
        "chunks": len(chunks),
        **({} if run.stopped is None else {"stopped": run.stopped.model_dump()}),
        "frames": {"total": len(selection), **counts, "degraded": finder.degraded},
        "summary": summary.to_dict() | told,
        **({} if log is None else {"events": log.rows}),
        "usage": {
            model: ModelUse.of(use.to_dict()).model_dump() for model, use in sorted(tools.meters.take(_ME).items())
        },
        "decoding": dict(sorted(run.decoding.items())),
        "gaps": [gap.model_dump(mode="json") for gap in found],
        "seconds": round(seconds, 3),
        "fps": round(len(selection) / seconds, 2),
        "exports": exports,
    }
    (out / "job.json").write_text(json.dumps(job, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return job


def _remove_maps_behind(out: Path, pipeline: PipelineSpec, frame: int | None) -> None:
    """Remove the maps of what lies behind the frame with which a run has stopped; None: it did not."""
    if frame is not None:
        remove_maps(out, maps_in(out, map_stages(pipeline.make_stages()), behind=frame))


def _write_records(out: Path, records: Iterator[FrameRecord], table: TrackTable | None) -> list[str]:
    """Write the records, and what the table, if there is one, then has of tracks; returns the names of the files."""
    if table is None:
        write_ndjson(out / "frames.ndjson", records)
        return ["frames.ndjson"]

    def noted() -> Iterator[FrameRecord]:
        for record in records:
            table.add(record)
            yield record

    write_ndjson(out / "frames.ndjson", noted())
    write_ndjson(out / "tracks.ndjson", table.tracks())
    return ["frames.ndjson", "tracks.ndjson"]


def _artefacts(pipeline: PipelineSpec) -> list[str]:
    return [name for stage in pipeline.make_stages() if isinstance(stage, JobStage) for name in stage.files()]


@dataclass
class _Turns:
    """A frames segment whose chunks run in order, whichever threads they are on: one runner, and its state."""

    runner: FramesRunner
    stop: threading.Event
    _next: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _states: States | None = None

    def run(self, chunk: int, work: Callable[[FramesRunner, States | None], list[FrameRecord]]) -> list[FrameRecord]:
        """Wait for a chunk's turn, then work on it. Nothing where the run is being stopped."""
        with self._changed:
            while self._next != chunk:
                if self.stop.is_set():
                    return []
                self._changed.wait(0.1)
        records = work(self.runner, self._states)
        with self._changed:
            self._states, self._next = self.runner.states(), chunk + 1
            self._changed.notify_all()
        return records


@dataclass
class _LocalRun:
    """A pipeline on a video in this process: frames segments chunk-parallel, then the sequence segment in order.

    Frames segments in order are passed by one chunk after another, while others are at what comes before and behind.
    """

    spec: PipelineSpec
    tools: Tools
    decoders: Decoders
    video: Path
    index: VideoIndex
    selection: Selection
    on_progress: OnProgress | None
    spare: list[list[FramesRunner]]
    out: Path
    log: NdjsonFile | None = None
    decoding: Counter[str] = field(default_factory=Counter)
    stop_when: StopCondition | None = None
    stopped: Stopped | None = None
    _done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _mine: threading.local = field(default_factory=threading.local)
    _turns: list[_Turns | None] = field(default_factory=list)

    def records(self, chunks: Sequence[Chunk], threads: int) -> Iterator[FrameRecord]:
        """All records in order. Memory: records of at most 2 x threads + 1 chunks; pixels stay in the rings."""
        segments = plan_segments(self.spec)
        self._turns = [
            _Turns(runner, self._stop) if segment.in_order else None
            for segment, runner in zip(segments, self.spare[0], strict=False)  # a sequence has no frames runner
        ]
        ordered = [SequenceRunner(self.spec, s, self.tools, size=self.size) for s in segments if s.kind == "sequence"]
        pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="chunk")
        pending: deque[Future[list[FrameRecord]]] = deque()
        waiting = deque(chunks)
        try:
            while (waiting or pending) and self.stopped is None:
                while waiting and len(pending) < 2 * threads + 1:
                    pending.append(pool.submit(self._run_chunk, waiting.popleft()))
                records: Iterable[FrameRecord] = pending.popleft().result()
                for runner in ordered:
                    records = runner.run(records)
                for record in records:
                    told = self._note_events(ordered)
                    yield record
                    if self.stop_when is not None and self.stop_when.holds(record, told):
                        condition = self.stop_when.expression.text
                        self.stopped = Stopped(frame=record.frame, time=record.time, condition=condition)
                        break
            rest: list[FrameRecord] = []
            for runner in ordered:
                rest = [*runner.run(rest), *runner.finish()]
            self._note_events(ordered)
            yield from rest
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the displayed source frame."""
        return self.index.facts.display_width, self.index.facts.display_height

    def _note_events(self, runners: Sequence[SequenceRunner]) -> list[Event]:
        told = [event for runner in runners for _, event in runner.take_events()]
        for event in told:
            assert self.log is not None
            self.log.add(event)
        return told

    def _run_chunk(self, chunk: Chunk) -> list[FrameRecord]:
        with working_for(Share(_ME)):
            inside = frames_of(chunk, self.selection.numbers)
            records: list[FrameRecord] = []
            runners = self._runners()
            for number, runner in enumerate(runners):
                known = {record.frame: record for record in records} if number else None
                work = partial(self._run_segment, inside, known, is_last=number + 1 == len(runners))
                turns = self._turns[number]
                records = work(runner, None) if turns is None else turns.run(chunk.number, work)
            with self._lock:
                self.decoding.update(self.decoders.take_decoded())
            return records

    def _run_segment(
        self,
        inside: npt.NDArray[np.int64],
        known: dict[int, FrameRecord] | None,
        runner: FramesRunner,
        states: States | None,
        *,
        is_last: bool,
    ) -> list[FrameRecord]:
        records: list[FrameRecord] = []
        found = runner.run(
            self.decoders,
            self.video,
            self.index,
            self.selection,
            inside,
            upstream=known,
            states=states,
            on_map=partial(keep_map, self.out),
        )
        for record in found:
            if self._stop.is_set():
                return records
            records.append(record)
            if is_last:
                self._count()
        return records

    def _runners(self) -> list[FramesRunner]:
        """This thread's own; the first thread takes those that checked the models."""
        if not hasattr(self._mine, "runners"):
            with self._lock:
                ready = self.spare.pop() if self.spare else None
            self._mine.runners = ready or open_runners(self.spec, self.tools)
        runners: list[FramesRunner] = self._mine.runners
        return runners

    def _count(self) -> None:
        with self._lock:
            self._done += 1
            if self.on_progress is not None:
                self.on_progress(self._done, len(self.selection))


def _events_in(out: Path) -> list[Event]:
    file = out / "events.ndjson"
    if not file.exists():
        return []
    with file.open(encoding="utf-8") as lines:
        return [Event.from_dict(json.loads(line)) for line in lines]


def _tracks_in(out: Path) -> Iterator[TrackRecord]:
    file = out / "tracks.ndjson"
    if file.exists():
        with file.open(encoding="utf-8") as lines:
            yield from (TrackRecord.from_dict(json.loads(line)) for line in lines)


def _annotate_local(out: Path, run: _LocalRun, shown: Sequence[int], models_path: Path) -> None:
    from cvpipe.exports.annotated import write_annotated

    with (out / "frames.ndjson").open(encoding="utf-8") as lines:
        voted = Voted(_tracks_in(out))
        records = (voted.applied(FrameRecord.from_dict(json.loads(line))) for line in lines)
        write_annotated(
            out / "annotated.mp4",
            run.decoders,
            run.video,
            run.index,
            records,
            run.tools.cv2,
            numbers=shown,
            on_progress=run.on_progress,
            skeletons=skeletons_of(run.spec, models_path),
            shapes=shapes_of(run.spec, run.size),
            events=_events_in(out),
        )
