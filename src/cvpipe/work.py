"""What workers do with a task: claim it, do it, commit what follows. Plain functions; the actors only call them.

Every function may be called for any task at any time, any number of times: the store decides what happens.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvpipe import webhooks
from cvpipe.broker import Bell
from cvpipe.engine import Chunk, FramesRunner, SequenceRunner, frames_of, plan_chunks, sha256_of
from cvpipe.errors import CvpipeError, InvalidRequest, LeaseLost, NotFound, Unavailable, UnreadableVideo
from cvpipe.exports.ndjson import write_ndjson
from cvpipe.job import Delivery, Job, JobError, JobState, TimeRange
from cvpipe.lifecycle import job_folder, video_file
from cvpipe.log import fields
from cvpipe.pipeline import PipelineSpec, Segment, parse_pipeline, plan_segments, select_frames
from cvpipe.results import FrameRecord, stream_ms
from cvpipe.settings import Settings
from cvpipe.store import Claim, Ring, Store
from cvpipe.video import VideoIndex

if TYPE_CHECKING:
    from cvpipe.stages import Tools
    from cvpipe.video import Decoders

log = logging.getLogger(__name__)

MAX_CRASHES = 3
MAX_FAILURES = 3
_FLUSH_RECORDS = 16
_FLUSH_SECONDS = 0.1
_EXPORT_PAGE = 1000


class Stopping(Exception):
    """This worker is shutting down: the task goes back to the store, nothing is lost."""


@dataclass
class Bench:
    """A worker process's resources: opened at boot, shared by its threads, closed at shutdown."""

    settings: Settings
    store: Store
    bell: Bell
    stopping: threading.Event = field(default_factory=threading.Event)
    _decoders: Decoders | None = None
    _tools: Tools | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _runners: dict[tuple[int, str], FramesRunner] = field(default_factory=dict)

    @property
    def decoders(self) -> Decoders:
        """Decoder processes, from the first use on."""
        with self._lock:
            if self._decoders is None:
                from cvpipe.video import Decoders, Limits

                self._decoders = Decoders(limits=Limits.of(self.settings))
                self._decoders.__enter__()
            return self._decoders

    @property
    def tools(self) -> Tools:
        """Networks and libraries for stages, from the first use on."""
        with self._lock:
            if self._tools is None:
                from cvpipe.inference import OnnxTools

                self._tools = OnnxTools(self.settings.models_path, device=self.settings.device)
            return self._tools

    def runner(self, spec: PipelineSpec, segment: Segment) -> FramesRunner:
        """The opened segment of this thread; kept warm between chunks and jobs."""
        key = (threading.get_ident(), spec.model_dump_json() + repr(segment))
        with self._lock:
            known = self._runners.pop(key, None)
            if known is not None:
                self._runners[key] = known  # most recently used goes last
        if known is None:
            known = FramesRunner(spec, segment, self.tools)
            with self._lock:
                self._runners[key] = known
                while len(self._runners) > 16:
                    del self._runners[next(iter(self._runners))]
        return known

    def close(self) -> None:
        """Stop decoder processes and close connections."""
        if self._decoders is not None:
            self._decoders.__exit__(None, None, None)
        self.bell.close()
        self.store.close()


class Lease:
    """A claimed task, renewed in the background while it is worked on."""

    def __init__(self, bench: Bench, claim: Claim) -> None:
        self.claim = claim
        self.task = claim.task
        self._bench = bench
        self._lost = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {claim.task}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Call often. Raises: LeaseLost (canceled, or taken over), Stopping."""
        if self._lost.is_set():
            raise LeaseLost(f"task {self.task} is no longer ours")
        if self._bench.stopping.is_set():
            raise Stopping

    def close(self) -> None:
        """Stop renewing."""
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        every = min(1.0, self._bench.settings.lease_seconds / 4)
        while not self._over.wait(every):
            try:
                if not self._bench.store.renew(self.claim, lease_seconds=self._bench.settings.lease_seconds):
                    self._lost.set()
                    return
            except Unavailable as error:
                log.warning("can't renew the lease of %s now: %s", self.task, error)


@contextmanager
def leased(bench: Bench, task: str, *, on_given_up: Callable[[Lease, JobError], Sequence[Ring]]) -> Iterator[Lease | None]:
    """Claim a task for the length of the block; None where it is not to be had.

    An exception hands the task back, to be tried again after a while. After three crashes or three failures, or at once for
    what trying again can't cure, `on_given_up` is called instead; it must commit an end.
    """
    claim = bench.store.claim(task, lease_seconds=bench.settings.lease_seconds)
    if isinstance(claim, str):
        log.debug("task not to be had %s", fields(task=task, why=claim))
        yield None
        return
    lease = Lease(bench, claim)
    try:
        if claim.crashes >= MAX_CRASHES:
            error = JobError(code="worker-crashed", message=f"the worker died {claim.crashes} times at {task}")
            bench.bell.ring(on_given_up(lease, error))
            yield None
            return
        yield lease
    except LeaseLost:
        log.info("left a task that is no longer ours %s", fields(task=task))
    except Stopping:
        bench.bell.ring(bench.store.release(claim))
    except Unavailable as error:
        log.warning("task handed back: %s %s", error, fields(task=task))
        _retry(bench, lease, error, on_given_up)
    except Exception as error:
        if not isinstance(error, CvpipeError):
            log.exception("task raised %s", fields(task=task))
        _retry(bench, lease, error, on_given_up)
    finally:
        lease.close()


def _retry(bench: Bench, lease: Lease, error: Exception, on_given_up: Callable[[Lease, JobError], Sequence[Ring]]) -> None:
    claim = lease.claim
    final = isinstance(error, CvpipeError) and not error.retryable
    try:
        if final or claim.failures + 1 >= MAX_FAILURES:
            code = error.code if isinstance(error, CvpipeError) else "internal"
            text = str(error) if isinstance(error, CvpipeError) else f"{type(error).__name__}: {error}"
            bench.bell.ring(on_given_up(lease, JobError(code=code, message=text[:1000])))
        else:
            bench.bell.ring(bench.store.release(claim, delay_seconds=0.5 * 4**claim.failures, failed=True))
    except LeaseLost:
        log.info("left a task that is no longer ours %s", fields(task=claim.task))
    except Unavailable as unavailable:
        log.warning("the task's lease will run out: %s %s", unavailable, fields(task=claim.task))


# --- ingest -----------------------------------------------------------------------------------------------------------


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
        path, video = _locate(bench, doc, lease)
        index = _index(bench, video, path)
        time_range = TimeRange.model_validate(doc["range"]) if doc["range"] else None
        numbers = select_frames(spec, index, time_range)
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
            _index(bench, video, video_file(bench.settings, video))
            bench.store.drop(lease.claim)


def _locate(bench: Bench, doc: dict[str, Any], lease: Lease) -> tuple[Path, str]:
    """File and id of a job's video; the id of a file on the server is remembered by its path, size and time of change."""
    if doc["path"] is None:
        return video_file(bench.settings, doc["video"]), doc["video"]
    path = Path(doc["path"])
    try:
        stat = path.stat()
    except OSError as error:
        raise UnreadableVideo(f"{path}: {error.strerror}", field="path") from error
    key = f"{path}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
    video = bench.store.remembered_sha256(key)
    if video is None:
        video = sha256_of(path, check=lease.check)
        bench.store.remember_sha256(key, video)
    return path, video


def _index(bench: Bench, video: str, path: Path) -> VideoIndex:
    """The video's index, made once and kept in the store."""
    packed = bench.store.video_index(video)
    if packed is not None:
        return VideoIndex.unpack(packed)
    if not path.is_file():
        raise UnreadableVideo("the video's file is gone; upload it again", field="video")
    index = bench.decoders.index(path)
    bench.store.put_video(
        video,
        size=path.stat().st_size,
        state="ready",
        facts=json.dumps(index.facts.to_dict()),
        index=index.pack(),
    )
    return index


def _models_of(bench: Bench, spec: PipelineSpec) -> dict[str, str]:
    from cvpipe.inference.cards import find_card

    cards = [find_card(bench.settings.models_path, reference) for reference in spec.models()]
    return {f"{card.name}@{card.version}": card.sha256 for card in cards}


# --- chunks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """One chunk of one segment of a job: what a task `chunk:<job>:<segment>:<chunk>` names."""

    job: str
    segment: int
    chunk: int

    @classmethod
    def parse(cls, task: str) -> _Part:
        _, job, segment, chunk = task.split(":")
        return cls(job, int(segment), int(chunk))


def work(bench: Bench, task: str) -> None:
    """Task `chunk:<job>:<segment>:<chunk>`: run a segment on a chunk."""
    part = _Part.parse(task)

    def give_up(lease: Lease, error: JobError) -> list[Ring]:
        log.error("chunk given up: %s %s", error.message, fields(task=task, code=error.code))
        return _fill(bench, lease, part, error)

    with leased(bench, task, on_given_up=give_up) as lease:
        if lease is None:
            return
        job = _PlannedJob.load(bench, part.job)
        segment = job.segments[part.segment]
        if segment.kind == "frames":
            bench.bell.ring(_run_frames(bench, lease, job, part, segment))
        else:
            bench.bell.ring(_run_sequence(bench, lease, job, part, segment))


@dataclass(frozen=True, slots=True)
class _PlannedJob:
    """What a chunk's task needs to know of its job."""

    doc: dict[str, Any]
    spec: PipelineSpec
    segments: list[Segment]
    chunks: list[Chunk]
    video: str
    index: VideoIndex
    numbers: Any  # (k,) int64: source frames looked at

    @classmethod
    def load(cls, bench: Bench, job_id: str) -> _PlannedJob:
        doc = bench.store.job_doc(job_id)
        spec = parse_pipeline(doc["pipeline"])
        segments, chunks, video = bench.store.job_plan(job_id)
        packed = bench.store.video_index(video)
        if packed is None:
            raise NotFound("the video was deleted")
        index = VideoIndex.unpack(packed)
        time_range = TimeRange.model_validate(doc["range"]) if doc["range"] else None
        return cls(
            doc=doc,
            spec=spec,
            segments=[Segment(s["kind"], s["queue"], tuple(s["stages"])) for s in segments],
            chunks=[Chunk(number, first, stop) for number, (first, stop, _) in enumerate(chunks)],
            video=video,
            index=index,
            numbers=select_frames(spec, index, time_range),
        )

    def frames_of(self, chunk: int) -> Any:
        return frames_of(self.chunks[chunk], self.numbers)

    def file(self, bench: Bench) -> Path:
        return Path(self.doc["path"]) if self.doc["path"] else video_file(bench.settings, self.video)

    def is_counted(self, segment: int) -> bool:
        """Progress is counted in the last segment that looks at frames."""
        return segment == max(n for n, s in enumerate(self.segments) if s.kind == "frames")


class _Appender:
    """Appends records in pipelines of 16, or what there is after 0.1 s: quick for the first, cheap for the rest."""

    def __init__(self, bench: Bench, lease: Lease, job: str, stream: tuple[int, int] | None, *, counted: bool) -> None:
        self._args = (lease.claim, job, stream)
        self._bench = bench
        self._lease = lease
        self._counted = counted
        self._pending: list[FrameRecord] = []
        self._flushed_at = 0.0

    def add(self, record: FrameRecord) -> None:
        """Take a record. Raises: LeaseLost, Stopping."""
        self._lease.check()
        self._pending.append(record)
        if len(self._pending) >= _FLUSH_RECORDS or time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is pending. Raises: LeaseLost."""
        if self._pending:
            seconds = self._bench.settings.lease_seconds
            self._bench.store.append(*self._args, self._pending, lease_seconds=seconds, counted=self._counted)
            self._pending = []
        self._flushed_at = time.monotonic()


def _run_frames(bench: Bench, lease: Lease, job: _PlannedJob, part: _Part, segment: Segment) -> list[Ring]:
    numbers = job.frames_of(part.chunk)
    last = bench.store.last_frame(part.job, part.segment, part.chunk)
    numbers = numbers[numbers > last]  # after a crash: go on behind what is written
    upstream = None
    if part.segment > 0:
        upstream = {r.frame: r for r in bench.store.chunk_records(part.job, part.segment - 1, part.chunk)}
    appender = _Appender(
        bench, lease, part.job, (part.segment, part.chunk), counted=job.is_counted(part.segment)
    )
    for record in bench.runner(job.spec, segment).run(bench.decoders, job.file(bench), job.index, numbers, upstream):
        appender.add(record)
    appender.flush()
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk)


def _run_sequence(bench: Bench, lease: Lease, job: _PlannedJob, part: _Part, segment: Segment) -> list[Ring]:
    runner = SequenceRunner(job.spec, segment, bench.tools)
    state = bench.store.sequence_state(part.job, part.segment)
    if state is not None:
        runner.restore(state)
    appender = _Appender(bench, lease, part.job, None, counted=False)
    for record in runner.run(bench.store.chunk_records(part.job, part.segment - 1, part.chunk)):
        appender.add(record)
    appender.flush()
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, state=runner.state())


def _fill(bench: Bench, lease: Lease, part: _Part, error: JobError) -> list[Ring]:
    """Give a chunk up: its missing records say so, the job goes on without it."""
    job = _PlannedJob.load(bench, part.job)
    is_frames = job.segments[part.segment].kind == "frames"
    known: dict[int, FrameRecord] = {}
    if part.segment > 0:
        known = {r.frame: r for r in bench.store.chunk_records(part.job, part.segment - 1, part.chunk)}
    records = []
    for number in job.frames_of(part.chunk).tolist():
        old = known.get(number) or FrameRecord(number, int(job.index.pts[number]), float(job.index.times[number]))
        records.append(
            FrameRecord(old.frame, old.pts, old.time, "failed", old.objects, old.values, error=error.code)
        )
    stream = (part.segment, part.chunk) if is_frames else None
    counted = is_frames and job.is_counted(part.segment)
    for start in range(0, len(records), 500):
        bench.store.append(
            lease.claim, part.job, stream, records[start : start + 500],
            lease_seconds=bench.settings.lease_seconds, counted=counted,
        )  # fmt: skip
    state = None if is_frames else bench.store.sequence_state(part.job, part.segment)
    return bench.store.finish_chunk(lease.claim, part.job, part.segment, part.chunk, failed=error, state=state or {})


# --- finish -----------------------------------------------------------------------------------------------------------


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
            error = JobError(code="frames-damaged", message=f"{damaged} frames could not be decoded")
        every = gaps and job.progress.chunks_failed == job.progress.chunks_total
        state = JobState.failed if every else JobState.succeeded_with_gaps if gaps else JobState.succeeded
        rings = bench.store.end_job(lease.claim, job_id, state, error=error if gaps else None, exports=exports)
        bench.bell.ring(rings)


def _annotate(bench: Bench, lease: Lease, job_id: str, folder: Path) -> None:
    from cvpipe.exports.annotated import write_annotated

    job = _PlannedJob.load(bench, job_id)

    def records() -> Iterator[FrameRecord]:
        for record in all_records(bench.store, job_id):
            lease.check()
            yield record

    write_annotated(folder / "annotated.mp4", bench.decoders, job.file(bench), job.index, records(), bench.tools.cv2)


def all_records(store: Store, job_id: str) -> Iterator[FrameRecord]:
    """Every record a job has now, in order. Memory: one page of 1,000."""
    after = None
    while True:
        page, _ = store.frames(job_id, after=after, limit=_EXPORT_PAGE)
        for _, record in page:
            yield record
        if len(page) < _EXPORT_PAGE:
            return
        after = page[-1][0]


# --- notify -----------------------------------------------------------------------------------------------------------


def notify(bench: Bench, task: str) -> None:
    """Task `notify:<job>`: deliver the webhook of the job's end; tried again over a day."""
    job_id = task.partition(":")[2]

    def drop(lease: Lease, error: JobError) -> list[Ring]:
        log.warning("webhook given up: %s %s", error.message, fields(job=job_id))
        bench.store.drop(lease.claim)
        return []

    with leased(bench, task, on_given_up=drop) as lease:
        if lease is None:
            return
        doc = bench.store.job_doc(job_id)
        job = bench.store.job(job_id)
        event = f"job.{job.state}"
        secret = doc["webhook_secret"] or bench.settings.webhook_secret
        # The id is the same for every attempt, so that a receiver can drop repeats.
        attempt = lease.claim.attempts
        result = webhooks.deliver(doc["webhook_url"], secret, f"msg_{job_id}", webhook_body(job, bench.settings))
        delivery = Delivery(
            event=event, attempt=attempt, at=round(time.time(), 3), status=result.status, error=result.error, delivered=result.delivered
        )
        bench.store.add_delivery(job_id, delivery)
        if delivery.delivered or result.give_up or attempt >= webhooks.MAX_ATTEMPTS:
            bench.store.drop(lease.claim)
        else:
            wait = max(webhooks.backoff_seconds(attempt), result.retry_after_seconds or 0)
            bench.store.release(lease.claim, delay_seconds=wait)


def webhook_body(job: Job, settings: Settings) -> bytes:
    """Body of the webhook that tells of a job's end."""
    at = datetime.fromtimestamp(job.finished_at or time.time(), UTC).isoformat().replace("+00:00", "Z")
    data = job.model_dump(mode="json", exclude={"deliveries"})
    if settings.public_url:
        data["links"] = {"self": f"{settings.public_url.rstrip('/')}/v1/jobs/{job.id}"}
    return json.dumps({"type": f"job.{job.state}", "timestamp": at, "data": data}, ensure_ascii=False).encode()


# --- sweep ------------------------------------------------------------------------------------------------------------


def sweep_once(bench: Bench) -> int:
    """Ring for all that is due. Returns how many."""
    rings = bench.store.sweep(limit=1000, ring_again_seconds=bench.settings.ring_again_seconds)
    bench.bell.ring(rings)
    return len(rings)


def sweep(bench: Bench) -> None:
    """Ring for what is due, again and again, until the bench stops. Several sweepers do no harm."""
    while not bench.stopping.wait(bench.settings.sweep_seconds):
        try:
            while sweep_once(bench) == 1000:
                pass
        except Unavailable as error:
            log.warning("the sweeper goes on when the store answers: %s", error)
