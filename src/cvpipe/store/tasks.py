"""Tasks: claimed with a token, renewed, handed back, finished; the due set is outbox, leases and retries in one."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgpack

from cvpipe.errors import LeaseLost, NotFound
from cvpipe.events import Event
from cvpipe.gaps import Gap
from cvpipe.job import JobError, JobState, Stopped, WallClock
from cvpipe.results import FrameRecord
from cvpipe.store.connection import PREFIX, Connection, chunk_key, frames_key, guarded, job_key, log_key
from cvpipe.tenants import id_of

#: A task that its ringer does not bring to a worker within this time is rung for again by the sweeper.
GRACE_MS = 3000


@dataclass(frozen=True, slots=True)
class Ring:
    """A task somebody should look at: what to tell the broker."""

    task: str
    queue: str
    priority: int


@dataclass(frozen=True, slots=True)
class Claim:
    """This worker's hold on a task, good while its token is in the store.

    crashes: how many workers died or froze with the task. failures: how often it raised. attempts: claims so far.
    """

    task: str
    token: str
    crashes: int
    failures: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planned of a job.

    chunks: (first frame, stop frame, ms of the first frame). stopped: where it ends early, as far as is known.
    """

    segments: list[dict[str, Any]]
    chunks: list[tuple[int, int, int]]
    video: str
    stopped: Stopped | None = None


class Tasks(Connection):
    """What workers and sweepers do. Every write names the claim it is made under."""

    @guarded
    def put_task(self, task: str, *, queue: str, priority: int = 4) -> list[Ring]:
        """Make a task known that belongs to no job."""
        return read_rings(self._scripts["put_task"](args=[task, queue, priority, GRACE_MS]))

    @guarded
    def claim(self, task: str, *, lease_seconds: float) -> Claim | Literal["gone", "busy", "early", "paused"]:
        """Take a task, or learn why not: it is over, held by another worker, not due yet, or its job is paused."""
        token = secrets.token_hex(16)
        verdict, crashes, failures, attempts = self._scripts["claim"](args=[task, token, int(lease_seconds * 1000)])
        if verdict != b"ok":
            return verdict.decode()
        return Claim(task, token, crashes, failures, attempts)

    @guarded
    def take(self, queue: str, *, lease_seconds: float, rung_for: str = "") -> Claim | None:
        """Take what is to be done first in a queue: by priority, then by turns of tenants, then the oldest job's.

        queue: its logical name; '': that of the task `rung_for`. None: there is nothing to do.
        """
        token = secrets.token_hex(16)
        args = [queue, rung_for, token, int(lease_seconds * 1000)]
        task, crashes, failures, attempts = self._scripts["take"](args=args)
        return Claim(task.decode(), token, crashes, failures, attempts) if task else None

    @guarded
    def put_max_running(self, jobs: int | None) -> None:
        """How many jobs of one tenant may be at work at once; None: as many as there are."""
        if jobs is None:
            self._redis.delete(PREFIX + "max_running")
        else:
            self._redis.set(PREFIX + "max_running", jobs)

    @guarded
    def renew(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Keep a claimed task. False: it is lost."""
        return bool(self._scripts["renew"](args=[claim.task, claim.token, int(lease_seconds * 1000)]))

    @guarded
    def holds(self, claim: Claim) -> bool:
        """Whether a task is still ours; cheaper than `renew`, which writes."""
        token = self._redis.hget(f"{PREFIX}task:{claim.task}", "token")
        return token is not None and token.decode() == claim.token

    @guarded
    def release(
        self, claim: Claim, *, delay_seconds: float = 0, failed: bool = False, progressed: bool = False
    ) -> list[Ring]:
        """Hand a task back, to be run again after the delay. Nothing happens where it is no longer ours.

        progressed: a part of it is done for good: crashes and failures up to here no longer count.
        """
        args = [claim.task, claim.token, int(delay_seconds * 1000), int(failed), int(progressed)]
        return read_rings(self._scripts["release"](args=args))

    @guarded
    def leave(self, claim: Claim) -> list[Ring]:
        """Say that a task that was taken away is no longer worked on: the last one to say so ends a cancel."""
        return read_rings(self._scripts["leave"](args=[job_of(claim.task), claim.task, claim.token, GRACE_MS]))

    @guarded
    def drop(self, claim: Claim) -> None:
        """End a task that leads to nothing else."""
        self._scripts["drop"](args=[claim.task, claim.token])

    @guarded
    def plan(
        self,
        claim: Claim,
        job_id: str,
        *,
        segments: Sequence[Mapping[str, Any]],
        chunks: Sequence[tuple[int, int, int]],
        frames_total: int,
        video: str,
        models: Mapping[str, str],
        wall_clock: WallClock | None = None,
        video_seconds: float = 0,
        addresses: Sequence[Sequence[Any]] = (),
        reused: Sequence[str] = (),
        trial_queue: str | None = None,
    ) -> list[Ring]:
        """Commit a job's plan and its first tasks. chunks: (first frame, stop frame, ms of the first frame).

        video_seconds: how much video it looks at; counts for its API key. addresses: (position, name, type, digest) of
        stages, for jobs that take results over. reused: names of stages whose results this one takes over.
        trial_queue: of a dry run: where its trial is made, instead of all work.
        Raises: LeaseLost.
        """
        rings = self._scripts["plan"](
            args=[
                job_id, claim.token, GRACE_MS, json.dumps(list(segments)), json.dumps(list(chunks)), frames_total,
                video, json.dumps(dict(models)), "" if wall_clock is None else wall_clock.model_dump_json(),
                round(video_seconds, 3),
                json.dumps(list(addresses)), json.dumps(list(reused)), trial_queue or "",
            ]
        )  # fmt: skip
        return read_rings(_held(rings, claim))

    @guarded
    def job_plan(self, job_id: str) -> Plan:
        """What is planned of a job. Raises: NotFound."""
        segments, chunks, video, stopped = self._redis.hmget(job_key(job_id), "plan", "chunks", "video", "stopped")
        if segments is None or chunks is None or video is None:
            raise NotFound(f"job {id_of(job_id)!r} has no plan")
        return Plan(
            json.loads(segments),
            [(c[0], c[1], c[2]) for c in json.loads(chunks)],
            video.decode(),
            None if stopped is None else Stopped.model_validate_json(stopped),
        )

    @guarded
    def stop_at(
        self, claim: Claim, job_id: str, chunk: int, stopped: Stopped, *, frames_total: int, lease_seconds: float
    ) -> None:
        """End a job's plan with a frame of this task's chunk; what was done behind it goes. Raises: LeaseLost.

        frames_total: how many frames the job looks at up to it, itself included.
        """
        args = [
            claim.task, claim.token, int(lease_seconds * 1000), job_id, chunk, stopped.frame,
            stopped.model_dump_json(), frames_total,
        ]  # fmt: skip
        if int(self._scripts["stop_at"](args=args)) < 0:
            raise LeaseLost(f"task {claim.task} is no longer ours")

    @guarded
    def addresses(self, job_id: str) -> list[tuple[int, str, str, str]]:
        """What the results of a job's stages are known by, see `plan`; none of a job that was never planned."""
        raw = self._redis.hget(job_key(job_id), "addresses")
        return [(row[0], row[1], row[2], row[3]) for row in json.loads(raw)] if raw else []

    @guarded
    def append(
        self, claim: Claim, job_id: str, stream: tuple[int, int] | None, records: Sequence[FrameRecord], *,
        lease_seconds: float, counted: bool,
    ) -> int:  # fmt: skip
        """Append records in order; those already there are skipped. Returns how many were new.

        stream: (segment, chunk), or None for the job's one frame stream. counted: they count as progress.
        Raises: LeaseLost.
        """
        key = frames_key(job_id) if stream is None else chunk_key(job_id, *stream)
        gaps = any(record.status != "ok" for record in records)
        args: list[Any] = [claim.task, claim.token, int(lease_seconds * 1000), job_id, key, int(counted), int(gaps)]
        for record in records:
            args += [record.stream_id, record.pack()]
        added = int(self._scripts["append"](args=args))
        if added < 0:
            raise LeaseLost(f"task {claim.task} is no longer ours")
        return added

    @guarded
    def append_events(
        self, claim: Claim, job_id: str, events: Sequence[tuple[str, Event]], *, lease_seconds: float
    ) -> list[Ring]:
        """Append events, with their ids, to a job's log; those already there are skipped.

        Returns what to ring where the job's receiver wants to be told of them. Raises: LeaseLost.
        """
        args: list[Any] = [claim.task, claim.token, int(lease_seconds * 1000), job_id, GRACE_MS]
        for entry_id, event in events:
            args += [entry_id, event.pack(), json.dumps({"event": event.to_dict()})]
        added, rings = self._scripts["append_events"](args=args)
        if added < 0:
            raise LeaseLost(f"task {claim.task} is no longer ours")
        return read_rings(rings)

    @guarded
    def last_event(self, job_id: str) -> tuple[str, Event] | None:
        """The last entry of a job's log, and its id; None where nothing was told."""
        tail = self._redis.xrevrange(log_key(job_id), count=1)
        return (tail[0][0].decode(), Event.unpack(tail[0][1][b"record"])) if tail else None

    @guarded
    def last_frame(self, job_id: str, segment: int, chunk: int) -> int:
        """Number of the last frame a chunk's stream holds, or -1: where to go on after a crash."""
        tail = self._redis.xrevrange(chunk_key(job_id, segment, chunk), count=1)
        return int(tail[0][0].split(b"-")[1]) - 1 if tail else -1

    @guarded
    def sequence_state(self, job_id: str, segment: int) -> dict[str, Any] | None:
        """State of a sequence segment after its last finished chunk."""
        raw = self._redis.get(f"{job_key(job_id)}:state:{segment}")
        return None if raw is None else msgpack.unpackb(raw)

    @guarded
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
        return read_rings(_held(rings, claim))

    @guarded
    def end_job(
        self,
        claim: Claim,
        job_id: str,
        state: JobState,
        *,
        error: JobError | None,
        exports: Sequence[str],
        exports_failed: Mapping[str, JobError] | None = None,
        gaps: Sequence[Gap] = (),
        gaps_total: int | None = None,
        summary: Mapping[str, Any] | None = None,
        facts: Mapping[str, str | int] | None = None,
    ) -> list[Ring]:
        """Commit a job's final state. gaps_total: where `gaps` lists only the first ones. facts: further fields.

        Raises: LeaseLost.
        """
        listed = [gap.model_dump(mode="json") for gap in gaps]
        failed = {name: why.model_dump() for name, why in (exports_failed or {}).items()}
        rings = self._commit(
            "end_job",
            [
                job_id, claim.task, claim.token, state.value, "" if error is None else error.model_dump_json(),
                json.dumps(list(exports)), json.dumps(listed) if listed else "",
                len(gaps) if gaps_total is None else gaps_total, json.dumps(dict(summary or {})),
                json.dumps(failed), GRACE_MS, json.dumps(dict(facts or {})),
            ],
        )  # fmt: skip
        return read_rings(_held(rings, claim))

    @guarded
    def sweep(self, *, limit: int, ring_again_seconds: float) -> list[Ring]:
        """Tasks that are due: never rung for, handed back, or with a lease that ran out."""
        return read_rings(self._scripts["sweep"](args=[limit, int(ring_again_seconds * 1000), GRACE_MS]))

    @guarded
    def due_counts(self) -> tuple[int, int]:
        """How many tasks are known, and how many of them are overdue."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcard(PREFIX + "due")
        pipe.zcount(PREFIX + "due", "-inf", time.time() * 1000 - 10_000)
        known, overdue = pipe.execute()
        return known, overdue


def job_of(task: str) -> str:
    """Id of the job that a task belongs to, or of what it is about where that is no job."""
    return task.split(":")[1]


def read_rings(raw: Iterable[Sequence[bytes]]) -> list[Ring]:
    """What a script says is to be rung for."""
    return [Ring(task.decode(), queue.decode(), int(priority)) for task, queue, priority in raw]


def _held(rings: Any, claim: Claim) -> Any:
    if rings is None:
        raise LeaseLost(f"task {claim.task} is no longer ours")
    return rings
