"""Run segments on frames. No Redis, no broker, no HTTP: workers and `cvpipe run` share this code."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidRequest
from cvpipe.exports.ndjson import write_ndjson
from cvpipe.frames import Frame, View
from cvpipe.pipeline import PipelineSpec, Segment, frames_in_range, plan_segments, select_frames, views_of
from cvpipe.results import FrameRecord
from cvpipe.stages import FrameStage, SequenceStage, Tools

if TYPE_CHECKING:
    from cvpipe.job import TimeRange
    from cvpipe.settings import Settings
    from cvpipe.video import Decoded, Decoders, VideoIndex

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The unit of work, retry and progress: source frames first <= number < stop; begins at a keyframe."""

    number: int
    first: int
    stop: int


def plan_chunks(index: VideoIndex, numbers: npt.NDArray[np.int64], seconds: float) -> list[Chunk]:
    """Chunks of about `seconds` that cover the frames `numbers`; those that hold none are left out."""
    if not len(numbers):
        return []
    spans = index.chunks(int(numbers[0]), int(numbers[-1]) + 1, seconds)
    spans = [(first, stop) for first, stop in spans if np.searchsorted(numbers, first) < np.searchsorted(numbers, stop)]
    return [Chunk(number, first, stop) for number, (first, stop) in enumerate(spans)]


def frames_of(chunk: Chunk, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of `numbers` that lie in the chunk."""
    return numbers[np.searchsorted(numbers, chunk.first) : np.searchsorted(numbers, chunk.stop)]


class FramesRunner:
    """A frames segment, its stages opened, ready to run chunks. One per thread: stages may keep scratch space."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools) -> None:
        self._made = spec.make_stages()
        self._numbers = segment.stages
        for number in segment.stages:
            self._made[number].open(tools)

    def run(
        self,
        decoders: Decoders,
        path: Path,
        index: VideoIndex,
        numbers: npt.NDArray[np.int64],
        upstream: Mapping[int, FrameRecord] | None = None,
    ) -> Iterator[FrameRecord]:
        """The records of the frames `numbers`, in order.

        upstream: records of an earlier segment by frame number, to be added to.
        Raises: VideoError, DecoderUnavailable and whatever a stage raises.
        """
        blank = {int(n): FrameRecord(int(n), int(index.pts[n]), float(index.times[n])) for n in numbers}
        records = {**blank, **upstream} if upstream else blank
        if not self._numbers or not len(numbers):
            yield from (records[int(n)] for n in numbers)
            return
        views = views_of(self._made, index.facts.display_width, index.facts.display_height)
        stages = [(self._frame_stage(n), views[n]) for n in self._numbers]
        wanted = list(dict.fromkeys(view for _, view in stages))
        hold = max(stage.batch for stage, _ in stages)
        with decoders.read(path, index, numbers, wanted, hold=hold) as decoded:
            for batch in _batches(decoded, hold):
                try:
                    found = self._look(stages, wanted, batch, records)
                finally:
                    for item in batch:
                        item.release()
                yield from found

    def _frame_stage(self, number: int) -> FrameStage[Any]:
        stage = self._made[number]
        assert isinstance(stage, FrameStage)
        return stage

    @staticmethod
    def _look(
        stages: Sequence[tuple[FrameStage[Any], View]],
        wanted: Sequence[View],
        batch: Sequence[Decoded],
        records: Mapping[int, FrameRecord],
    ) -> list[FrameRecord]:
        out = [records[item.number] for item in batch]
        for i, item in enumerate(batch):
            if item.images is None:
                old = out[i]
                out[i] = FrameRecord(old.frame, old.pts, old.time, status="decode_error", error=item.error)
        good = [i for i, item in enumerate(batch) if item.images is not None and out[i].status == "ok"]
        for stage, view in stages:
            which = wanted.index(view)
            for start in range(0, len(good), stage.batch):
                part = good[start : start + stage.batch]
                frames = []
                for i in part:
                    images = batch[i].images
                    assert images is not None
                    frames.append(Frame(out[i].frame, out[i].pts, out[i].time, view, images[which]))
                for i, found in zip(part, stage.process(frames, [out[i].objects for i in part]), strict=True):
                    out[i] = out[i].with_found(found)
        return out


def _batches(decoded: Iterator[Decoded], size: int) -> Iterator[list[Decoded]]:
    batch: list[Decoded] = []
    for item in decoded:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class SequenceRunner:
    """A sequence segment, its stages opened; its state can move between processes after any record."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools) -> None:
        made = spec.make_stages()
        self._stages = [stage for n in segment.stages if isinstance(stage := made[n], SequenceStage)]
        for stage in self._stages:
            stage.open(tools)

    def run(self, records: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """The records with the stages' results. Feed all records of the video, in order, over one or more calls."""
        for record in records:
            updated = record
            for stage in self._stages:
                updated = stage.update(updated)
            yield updated

    def state(self) -> dict[str, Any]:
        """State of every stage by name, as MessagePack-able values."""
        return {stage.name: stage.state() for stage in self._stages}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        for stage in self._stages:
            stage.restore(state[stage.name])


def sha256_of(path: Path, *, check: Callable[[], None] | None = None) -> str:
    """Hex sha256 of a file. `check` is called now and then and may raise to stop."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if check is not None:
                check()
    return digest.hexdigest()


def run_local(
    video: Path,
    pipeline: PipelineSpec,
    out: Path,
    *,
    settings: Settings,
    chunk_seconds: float = 10,
    annotate: bool = False,
    range: TimeRange | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Run a pipeline on a video in this process and write `out/frames.ndjson`, `out/job.json` (and `annotated.mp4`).

    Returns the job document. on_progress gets (frames done, frames in all), from any thread, in order.
    Raises: InvalidRequest, VideoError, InvalidModel, NotFound, DeviceUnavailable.
    """
    from cvpipe.inference import OnnxTools
    from cvpipe.video import Decoders, Limits

    if not video.is_file():
        raise InvalidRequest(f"no video file {str(video)!r}")
    threads = settings.threads or len(os.sched_getaffinity(0))
    started = time.time()
    tools = OnnxTools(settings.models_path, device=settings.device)
    out.mkdir(parents=True, exist_ok=True)
    with Decoders(limits=Limits.of(settings)) as decoders, ThreadPoolExecutor(1) as aside:
        indexing = aside.submit(decoders.index, video)
        runners = open_runners(pipeline, tools)  # takes as long as starting decoders; a wrong model is told first
        index = indexing.result()
        numbers = select_frames(pipeline, index, range)
        if not len(numbers):
            raise InvalidRequest("no frame of the video lies in the range", field="range")
        chunks = plan_chunks(index, numbers, chunk_seconds)
        for old in ("job.json", "annotated.mp4"):  # of an earlier run into the same folder
            (out / old).unlink(missing_ok=True)
        counts = {"ok": 0, "decode_error": 0, "failed": 0}
        run = _LocalRun(pipeline, tools, decoders, video, index, numbers, on_progress, [runners])

        def counted() -> Iterator[FrameRecord]:
            for record in run.records(chunks, threads):
                counts[record.status] += 1
                yield record

        write_ndjson(out / "frames.ndjson", counted())
        processed = time.time()
        if annotate:
            _annotate_local(out, run, frames_in_range(index, range))
    seconds = processed - started
    job = {
        "state": "succeeded" if counts["decode_error"] + counts["failed"] == 0 else "succeeded_with_gaps",
        "video": {"path": str(video), "sha256": sha256_of(video), **index.facts.to_dict()},
        "pipeline": pipeline.model_dump(mode="json"),
        "models": tools.used_models(),
        "chunk_seconds": chunk_seconds,
        "chunks": len(chunks),
        "frames": {"total": len(numbers), **counts},
        "seconds": round(seconds, 3),
        "fps": round(len(numbers) / seconds, 2),
        "exports": ["frames.ndjson", *(["annotated.mp4"] if annotate else [])],
    }
    (out / "job.json").write_text(json.dumps(job, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return job


@dataclass
class _LocalRun:
    """A pipeline on a video in this process: frames segments chunk-parallel, then the sequence segment in order."""

    spec: PipelineSpec
    tools: Tools
    decoders: Decoders
    video: Path
    index: VideoIndex
    numbers: npt.NDArray[np.int64]
    on_progress: OnProgress | None
    spare: list[list[FramesRunner]]
    _done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _mine: threading.local = field(default_factory=threading.local)

    def records(self, chunks: Sequence[Chunk], threads: int) -> Iterator[FrameRecord]:
        """All records in order. Memory: records of at most 2 x threads + 1 chunks; pixels stay in the rings."""
        segments = plan_segments(self.spec)
        ordered = [SequenceRunner(self.spec, s, self.tools) for s in segments if s.kind == "sequence"]
        pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="chunk")
        pending: deque[Future[list[FrameRecord]]] = deque()
        waiting = deque(chunks)
        try:
            while waiting or pending:
                while waiting and len(pending) < 2 * threads + 1:
                    pending.append(pool.submit(self._run_chunk, waiting.popleft()))
                records: Iterable[FrameRecord] = pending.popleft().result()
                for runner in ordered:
                    records = runner.run(records)
                yield from records
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _run_chunk(self, chunk: Chunk) -> list[FrameRecord]:
        inside = frames_of(chunk, self.numbers)
        records: list[FrameRecord] = []
        upstream: dict[int, FrameRecord] | None = None
        for runner in (runners := self._runners()):
            records = []
            for record in runner.run(self.decoders, self.video, self.index, inside, upstream):
                if self._stop.is_set():
                    return records
                records.append(record)
                if runner is runners[-1]:
                    self._count()
            upstream = {record.frame: record for record in records}
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
                self.on_progress(self._done, len(self.numbers))


def open_runners(spec: PipelineSpec, tools: Tools) -> list[FramesRunner]:
    """The frames segments of a pipeline, opened. Raises: NotFound, InvalidModel."""
    return [FramesRunner(spec, segment, tools) for segment in plan_segments(spec) if segment.kind == "frames"]


def _annotate_local(out: Path, run: _LocalRun, shown: Sequence[int]) -> None:
    from cvpipe.exports.annotated import write_annotated

    with (out / "frames.ndjson").open(encoding="utf-8") as lines:
        records = (FrameRecord.from_dict(json.loads(line)) for line in lines)
        write_annotated(
            out / "annotated.mp4", run.decoders, run.video, run.index, records, run.tools.cv2, numbers=shown
        )
