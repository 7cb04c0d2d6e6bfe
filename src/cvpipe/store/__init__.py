"""The store: the only door to Redis, and the truth about every job.

Claim, append, finish, fail and cancel are Lua scripts (`lua/`), atomic and on the server's clock. A task is claimed with a
random token; whoever's token is gone can write nothing. `docs/architecture/03-the-store.md` lists the keys.
"""

from __future__ import annotations

import functools
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import msgpack
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from cvpipe.errors import Conflict, LeaseLost, NotFound, StoreUnavailable
from cvpipe.job import Delivery, Job, JobError, JobState, Progress
from cvpipe.results import FrameRecord, stream_ms

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_PREFIX = "cvpipe:"
#: A task that its ringer does not bring to a worker within this time is rung for again by the sweeper.
GRACE_MS = 3000
IDEMPOTENCY_TTL_MS = 24 * 3600 * 1000
_DELIVERIES_KEPT = 100


@dataclass(frozen=True, slots=True)
class Ring:
    """A task somebody should look at: what to tell the broker."""

    task: str
    queue: str
    priority: int


@dataclass(frozen=True, slots=True)
class Claim:
    """This worker's hold on a task, good while its token is in the store.

    crashes: how many workers died or froze with the task before. failures: how often it raised. attempts: claims so far.
    """

    task: str
    token: str
    crashes: int
    failures: int
    attempts: int


def _guarded(
    method: Callable[Concatenate[Store, P], R],
) -> Callable[Concatenate[Store, P], R]:
    """Convert redis-py's errors at the door."""

    @functools.wraps(method)
    def call(self: Store, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise StoreUnavailable(f"Redis does not answer ({error}); is it running?") from error
        except redis.ResponseError as error:
            if str(error).startswith(("OOM", "MISCONF", "LOADING", "READONLY")):
                raise StoreUnavailable(f"Redis refuses to write: {error}") from error
            raise

    return call


class Store:
    """Jobs, tasks, records, events and videos in Redis (or Valkey). Thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        folder = resources.files(__name__) / "lua"
        prelude = (folder / "prelude.lua").read_text()
        self._scripts = {
            name: client.register_script(prelude + (folder / f"{name}.lua").read_text())
            for name in (
                "submit", "put_task", "claim", "renew", "release", "drop", "plan", "append",
                "finish_chunk", "end_job", "cancel", "delete_job", "sweep",
            )
        }  # fmt: skip
        self._settle = False

    @classmethod
    def connect(cls, url: str) -> Store:
        """A store on a `redis://` or `unix://` URL; warns where the server may lose what it acknowledged.

        Raises: StoreUnavailable.
        """
        client = redis.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=5, health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )  # fmt: skip
        store = cls(client)
        store.ping()
        store._check_durability()
        return store

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    @property
    def client(self) -> redis.Redis:
        """The connection pool, for the embedded broker, which rings over the same server."""
        return self._redis

    @_guarded
    def ping(self) -> None:
        """Raises: StoreUnavailable where Redis does not answer."""
        self._redis.ping()

    @_guarded
    def _check_durability(self) -> None:
        try:
            config = {k: v for k, v in self._redis.config_get("append*", "maxmemory-policy").items()}
        except redis.ResponseError:
            log.warning("the store does not tell its configuration; check `appendfsync always` and `noeviction`")
            return
        if config.get("maxmemory-policy", "noeviction") != "noeviction":
            raise StoreUnavailable("Redis may evict records: set `maxmemory-policy noeviction`")
        if config.get("appendonly") == "yes" and config.get("appendfsync") != "always":
            self._settle = True
        elif config.get("appendonly") != "yes":
            log.warning("Redis runs without an append-only file: a crash of Redis loses jobs (set `appendonly yes`)")

    def _commit(self, script: str, args: list[Any]) -> Any:
        """Run a script whose effect will be told to the outside: come back only when it is on disk."""
        if not self._settle:
            return self._scripts[script](args=args)
        pipe = self._redis.pipeline(transaction=False)  # WAITAOF waits for the writes of its own connection
        self._scripts[script](args=args, client=pipe)
        pipe.execute_command("WAITAOF", 1, 0, 2000)
        result, waited = pipe.execute(raise_on_error=False)
        if isinstance(result, Exception):
            raise result
        if isinstance(waited, redis.ResponseError):
            self._settle = False
            log.warning("this Redis has no WAITAOF: set `appendfsync always`, or a crash may lose acknowledged jobs")
        elif isinstance(waited, Exception):
            raise waited
        elif waited[0] < 1:
            raise StoreUnavailable("Redis did not write to disk within 2 s")
        return result

    # --- jobs -----------------------------------------------------------------------------------------------------

    @_guarded
    def submit(
        self, job_id: str, doc: Mapping[str, Any], *, priority: int, webhook: bool, idempotency_key: str | None, digest: str
    ) -> tuple[str, Literal["new", "same", "other"], list[Ring]]:
        """Commit a job. Returns its id, whether it is new or was known by its idempotency key, and what to ring."""
        found, verdict, rings = self._commit(
            "submit",
            [
                job_id, json.dumps(doc), priority, int(webhook), idempotency_key or "", digest,
                IDEMPOTENCY_TTL_MS, GRACE_MS,
            ],
        )  # fmt: skip
        return found.decode(), verdict.decode(), _rings(rings)

    @_guarded
    def job(self, job_id: str) -> Job:
        """The job as the service shows it. Raises: NotFound."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(_job(job_id))
        pipe.lrange(_job(job_id) + ":deliveries", 0, -1)
        fields, deliveries = pipe.execute()
        if not fields:
            raise NotFound(f"there is no job {job_id!r}")
        return _read_job(job_id, fields, deliveries)

    @_guarded
    def job_doc(self, job_id: str) -> dict[str, Any]:
        """What was committed with the job, with what the service alone may know. Raises: NotFound."""
        doc = self._redis.hget(_job(job_id), "doc")
        if doc is None:
            raise NotFound(f"there is no job {job_id!r}")
        return json.loads(doc)  # type: ignore[no-any-return]

    @_guarded
    def jobs(
        self, *, state: JobState | None = None, label: tuple[str, str] | None = None, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[Job], str | None]:
        """Jobs, newest first, and the cursor of the next page. label: (key, value) that a job must carry."""
        found: list[Job] = []
        top: str = "+inf"
        after: tuple[float, str] | None = None
        if cursor is not None:
            ms, _, last_id = cursor.partition("-")
            if not ms.isdigit():
                raise NotFound("there is no such page; start again without `cursor`", field="cursor")
            top, after = ms, (float(ms), last_id)
        offset = 0
        while True:
            page = self._redis.zrevrangebyscore(_PREFIX + "jobs", top, "-inf", start=offset, num=200, withscores=True)
            if not page:
                return found, None
            offset += len(page)
            for raw, score in page:
                job_id = raw.decode()
                if after is not None and (score, job_id) >= after:
                    continue
                try:
                    job = self.job(job_id)
                except NotFound:  # deleted meanwhile
                    continue
                if (state is None or job.state == state) and (label is None or job.labels.get(label[0]) == label[1]):
                    if len(found) == limit:
                        return found, f"{int(found[-1].created_at * 1000)}-{found[-1].id}"
                    found.append(job)

    @_guarded
    def job_counts(self) -> dict[str, int]:
        """Jobs by state (for /metrics; reads every job's state)."""
        ids = self._redis.zrange(_PREFIX + "jobs", 0, -1)
        pipe = self._redis.pipeline(transaction=False)
        for raw in ids:
            pipe.hget(_job(raw.decode()), "state")
        counts = dict.fromkeys((state.value for state in JobState), 0)
        for raw in pipe.execute():
            if raw is not None:
                counts[raw.decode()] += 1
        return counts

    @_guarded
    def cancel(self, job_id: str) -> list[Ring]:
        """End a job at once; does nothing to one that is over. Raises: NotFound."""
        state, rings = self._commit("cancel", [job_id, GRACE_MS])
        if not state:
            raise NotFound(f"there is no job {job_id!r}")
        return _rings(rings)

    @_guarded
    def delete_job(self, job_id: str) -> None:
        """Remove all of a job that is over. Raises: NotFound, Conflict."""
        verdict = self._scripts["delete_job"](args=[job_id])
        if verdict == 0:
            raise NotFound(f"there is no job {job_id!r}")
        if verdict == -1:
            raise Conflict("the job is not over; cancel it first")

    # --- tasks ----------------------------------------------------------------------------------------------------

    @_guarded
    def put_task(self, task: str, *, queue: str, priority: int = 4) -> list[Ring]:
        """Make a task known that belongs to no job."""
        return _rings(self._scripts["put_task"](args=[task, queue, priority, GRACE_MS]))

    @_guarded
    def claim(self, task: str, *, lease_seconds: float) -> Claim | Literal["gone", "busy", "early"]:
        """Take a task, or learn why not: it is over, another worker holds it, or its retry is not due."""
        token = secrets.token_hex(16)
        verdict, crashes, failures, attempts = self._scripts["claim"](args=[task, token, int(lease_seconds * 1000)])
        if verdict != b"ok":
            return verdict.decode()  # type: ignore[no-any-return]
        return Claim(task, token, crashes, failures, attempts)

    @_guarded
    def renew(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Keep a claimed task. False: it is lost."""
        return bool(self._scripts["renew"](args=[claim.task, claim.token, int(lease_seconds * 1000)]))

    @_guarded
    def release(self, claim: Claim, *, delay_seconds: float = 0, failed: bool = False) -> list[Ring]:
        """Hand a task back, to be run again after the delay. Nothing happens where it is no longer ours."""
        args = [claim.task, claim.token, int(delay_seconds * 1000), int(failed)]
        return _rings(self._scripts["release"](args=args))

    @_guarded
    def drop(self, claim: Claim) -> None:
        """End a task that leads to nothing else."""
        self._scripts["drop"](args=[claim.task, claim.token])

    @_guarded
    def plan(
        self, claim: Claim, job_id: str, *, segments: Sequence[Mapping[str, Any]], chunks: Sequence[tuple[int, int, int]],
        frames_total: int, video: str, models: Mapping[str, str],
    ) -> list[Ring]:  # fmt: skip
        """Commit a job's plan and its first tasks. chunks: (first frame, stop frame, ms of the first frame).

        Raises: LeaseLost.
        """
        rings = self._scripts["plan"](
            args=[
                job_id, claim.token, GRACE_MS, json.dumps(list(segments)), json.dumps(list(chunks)), frames_total, video,
                json.dumps(dict(models)),
            ]
        )  # fmt: skip
        return _rings(_held(rings, claim))

    @_guarded
    def job_plan(self, job_id: str) -> tuple[list[dict[str, Any]], list[tuple[int, int, int]], str]:
        """Segments, chunks and video of a planned job. Raises: NotFound."""
        segments, chunks, video = self._redis.hmget(_job(job_id), "plan", "chunks", "video")
        if segments is None or chunks is None or video is None:
            raise NotFound(f"job {job_id!r} has no plan")
        return json.loads(segments), [(c[0], c[1], c[2]) for c in json.loads(chunks)], video.decode()

    @_guarded
    def append(
        self, claim: Claim, job_id: str, stream: tuple[int, int] | None, records: Sequence[FrameRecord], *,
        lease_seconds: float, counted: bool,
    ) -> int:  # fmt: skip
        """Append records in order; those already there are skipped. Returns how many were new.

        stream: (segment, chunk), or None for the job's one frame stream. counted: they count as progress.
        Raises: LeaseLost.
        """
        key = _frames(job_id) if stream is None else _chunk(job_id, *stream)
        args: list[Any] = [claim.task, claim.token, int(lease_seconds * 1000), job_id, key, int(counted)]
        for record in records:
            args += [record.stream_id, record.pack()]
        added = int(self._scripts["append"](args=args))
        if added < 0:
            raise LeaseLost(f"task {claim.task} is no longer ours")
        return added

    @_guarded
    def chunk_records(self, job_id: str, segment: int, chunk: int) -> list[FrameRecord]:
        """All records of a chunk that a segment has written so far."""
        return [_record(fields) for _, fields in self._redis.xrange(_chunk(job_id, segment, chunk))]

    @_guarded
    def last_frame(self, job_id: str, segment: int, chunk: int) -> int:
        """Number of the last frame a chunk's stream holds, or -1: where to go on after a crash."""
        tail = self._redis.xrevrange(_chunk(job_id, segment, chunk), count=1)
        return int(tail[0][0].split(b"-")[1]) - 1 if tail else -1

    @_guarded
    def sequence_state(self, job_id: str, segment: int) -> dict[str, Any] | None:
        """State of a sequence segment after its last finished chunk."""
        raw = self._redis.get(f"{_job(job_id)}:state:{segment}")
        return None if raw is None else msgpack.unpackb(raw)  # type: ignore[no-any-return]

    @_guarded
    def finish_chunk(
        self, claim: Claim, job_id: str, segment: int, chunk: int, *, failed: JobError | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> list[Ring]:  # fmt: skip
        """A chunk of a segment is done (or given up): commits it and what follows from it. Raises: LeaseLost."""
        rings = self._scripts["finish_chunk"](
            args=[
                job_id, segment, chunk, claim.token, "ok" if failed is None else "failed",
                b"" if state is None else msgpack.packb(dict(state)),
                "" if failed is None else failed.model_dump_json(), GRACE_MS,
            ]
        )  # fmt: skip
        return _rings(_held(rings, claim))

    @_guarded
    def end_job(self, claim: Claim, job_id: str, state: JobState, *, error: JobError | None, exports: Sequence[str]) -> list[Ring]:
        """Commit a job's final state. Raises: LeaseLost."""
        rings = self._commit(
            "end_job",
            [
                job_id, claim.task, claim.token, state.value, "" if error is None else error.model_dump_json(),
                json.dumps(list(exports)), GRACE_MS,
            ],
        )  # fmt: skip
        return _rings(_held(rings, claim))

    @_guarded
    def sweep(self, *, limit: int, ring_again_seconds: float) -> list[Ring]:
        """Tasks that are due: never rung for, handed back, or with a lease that ran out."""
        return _rings(self._scripts["sweep"](args=[limit, int(ring_again_seconds * 1000)]))

    @_guarded
    def due_counts(self) -> tuple[int, int]:
        """How many tasks are known, and how many of them are overdue."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcard(_PREFIX + "due")
        pipe.zcount(_PREFIX + "due", "-inf", time.time() * 1000 - 10_000)
        known, overdue = pipe.execute()
        return known, overdue

    # --- records and events ---------------------------------------------------------------------------------------

    @_guarded
    def frames(
        self, job_id: str, *, start: float | None = None, stop: float | None = None, after: str | None = None, limit: int = 500
    ) -> tuple[list[tuple[str, FrameRecord]], bool]:
        """Records in order, with their stream ids; and whether these are the last there will ever be.

        start, stop: seconds since the first frame, start <= time < stop. after: a stream id; records behind it.
        Raises: NotFound.
        """
        # What is finished is read before the records: the other way round, a record could slip in between.
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(_job(job_id), "state", "plan", "chunks")
        pipe.hkeys(_job(job_id) + ":done")
        (state, plan, chunks), done_raw = pipe.execute()
        if state is None:
            raise NotFound(f"there is no job {job_id!r}")
        over = JobState(state.decode()).is_final
        if plan is None:
            return [], over
        low = f"({after}" if after is not None else ("-" if start is None else f"{stream_ms(start)}-0")
        high = "+" if stop is None else f"({stream_ms(stop)}-0"
        segments = json.loads(plan)
        if segments[-1]["kind"] == "sequence":
            streams: Iterable[tuple[str, bool]] = [(_frames(job_id), over)]
        else:
            done = {key.decode() for key in done_raw}
            streams = self._chunk_streams(job_id, len(segments) - 1, json.loads(chunks), done, over, start, stop, after)
        found: list[tuple[str, FrameRecord]] = []
        for key, complete in streams:
            entries = self._redis.xrange(key, low, high, count=limit - len(found) + 1)
            for entry_id, fields in entries:
                if len(found) == limit:
                    return found, False
                found.append((entry_id.decode(), _record(fields)))
            if not complete:
                return found, False
        return found, True

    @staticmethod
    def _chunk_streams(
        job_id: str, segment: int, chunks: Sequence[Sequence[int]], done: set[str], over: bool,
        start: float | None, stop: float | None, after: str | None,
    ) -> Iterator[tuple[str, bool]]:  # fmt: skip
        """The chunk streams that can hold what is asked for, in order, up to the first that is not finished."""
        next_frame = int(after.split("-")[1]) if after is not None else 0
        for number, (_first, stop_frame, first_ms) in enumerate(chunks):
            if stop is not None and first_ms >= stream_ms(stop):
                return
            behind = number + 1 < len(chunks) and start is not None and chunks[number + 1][2] <= stream_ms(start)
            if stop_frame <= next_frame or behind:
                continue
            complete = over or f"{segment}:{number}" in done
            yield _chunk(job_id, segment, number), complete
            if not complete:
                return

    @_guarded
    def events(self, job_id: str, *, after: str = "0", limit: int = 200) -> list[tuple[str, dict[str, Any]]]:
        """State changes and progress of a job behind the event id `after`: (id, {"type", "at", ...}), at in seconds."""
        entries = self._redis.xrange(_job(job_id) + ":events", f"({after}" if after != "0" else "-", "+", count=limit)
        out = []
        for entry_id, fields in entries:
            event: dict[str, Any] = {"type": fields[b"type"].decode(), "at": int(fields[b"at"]) / 1000}
            if b"frames_done" in fields:
                event["frames_done"] = int(fields[b"frames_done"])
            out.append((entry_id.decode(), event))
        return out

    @_guarded
    def add_delivery(self, job_id: str, delivery: Delivery) -> None:
        """Keep one attempt at a webhook with its job."""
        key = _job(job_id) + ":deliveries"
        pipe = self._redis.pipeline()
        pipe.rpush(key, delivery.model_dump_json())
        pipe.ltrim(key, -_DELIVERIES_KEPT, -1)
        pipe.execute()

    # --- videos ---------------------------------------------------------------------------------------------------

    @_guarded
    def put_video(self, video_id: str, **fields: str | bytes | int | float) -> None:
        """Set fields of a video: size, filename, state, facts (json), index (bytes), error (json)."""
        pipe = self._redis.pipeline()
        pipe.hset(_PREFIX + "video:" + video_id, mapping=fields)  # type: ignore[arg-type]
        pipe.hsetnx(_PREFIX + "video:" + video_id, "created_at", round(time.time(), 3))
        pipe.execute()

    @_guarded
    def video(self, video_id: str) -> dict[str, Any]:
        """What is known of a video, without its index. Raises: NotFound."""
        names = ("size", "state", "facts", "error", "created_at", "filename")
        values = self._redis.hmget(_PREFIX + "video:" + video_id, *names)
        size, state, facts, error, created_at, filename = values
        if state is None:
            raise NotFound(f"there is no video {video_id!r}; upload it with PUT /v1/videos")
        return {
            "id": video_id,
            "size": int(size),
            "state": state.decode(),
            "facts": json.loads(facts) if facts else None,
            "error": json.loads(error) if error else None,
            "created_at": float(created_at),
            "filename": filename.decode() if filename else None,
        }

    @_guarded
    def video_index(self, video_id: str) -> bytes | None:
        """The packed index of a video, where it is known."""
        return self._redis.hget(_PREFIX + "video:" + video_id, "index")  # type: ignore[return-value]

    @_guarded
    def remembered_sha256(self, file_key: str) -> str | None:
        """sha256 of a file on the server, remembered by path, size and time of change."""
        raw = self._redis.get(_PREFIX + "file:" + file_key)
        return None if raw is None else raw.decode()

    @_guarded
    def remember_sha256(self, file_key: str, sha256: str) -> None:
        """The inverse of `remembered_sha256`; forgotten after a month."""
        self._redis.set(_PREFIX + "file:" + file_key, sha256, ex=30 * 24 * 3600)


def _job(job_id: str) -> str:
    return f"{_PREFIX}job:{job_id}"


def _frames(job_id: str) -> str:
    return f"{_job(job_id)}:frames"


def _chunk(job_id: str, segment: int, chunk: int) -> str:
    return f"{_job(job_id)}:c:{segment}:{chunk}"


def _record(fields: Mapping[bytes, bytes]) -> FrameRecord:
    return FrameRecord.unpack(fields[b"record"])


def _rings(raw: Iterable[Sequence[bytes]]) -> list[Ring]:
    return [Ring(task.decode(), queue.decode(), int(priority)) for task, queue, priority in raw]


def _held(rings: Any, claim: Claim) -> Any:
    if rings is None:
        raise LeaseLost(f"task {claim.task} is no longer ours")
    return rings


def _read_job(job_id: str, fields: Mapping[bytes, bytes], deliveries: Sequence[bytes]) -> Job:
    text = {key.decode(): value for key, value in fields.items()}
    doc = json.loads(text["doc"])

    def seconds(name: str) -> float | None:
        return int(text[name]) / 1000 if name in text else None

    def number(name: str) -> int | None:
        return int(text[name]) if name in text else None

    return Job(
        id=job_id,
        state=JobState(text["state"].decode()),
        video=text["video"].decode() if "video" in text else doc.get("video"),
        path=doc.get("path"),
        pipeline=doc["pipeline"],
        models=json.loads(text["models"]) if "models" in text else {},
        range=doc.get("range"),
        priority=doc["priority"],
        labels=doc["labels"],
        webhook_url=doc.get("webhook_url"),
        annotate=doc["annotate"],
        chunk_seconds=doc["chunk_seconds"],
        progress=_progress(number, seconds("started_at"), seconds("finished_at")),
        error=JobError.model_validate_json(text["error"]) if text.get("error") else None,
        created_at=seconds("created_at") or 0,
        started_at=seconds("started_at"),
        finished_at=seconds("finished_at"),
        deliveries=[Delivery.model_validate_json(raw) for raw in deliveries],
        exports=json.loads(text["exports"]) if "exports" in text else [],
    )


def _progress(number: Callable[[str], int | None], started: float | None, finished: float | None) -> Progress:
    done, total = number("frames_done") or 0, number("frames_total")
    elapsed = max(0.001, (finished or time.time()) - started) if started is not None else None
    fps = done / elapsed if elapsed and done else None
    return Progress(
        frames_done=done,
        frames_total=total,
        fraction=min(1.0, done / total) if total else 0.0,
        fps=round(fps, 2) if fps else None,
        eta_seconds=round((total - done) / fps, 1) if fps and total and finished is None else None,
        chunks_done=number("chunks_done") or 0,
        chunks_total=number("chunks_total"),
        chunks_failed=number("chunks_failed") or 0,
    )
