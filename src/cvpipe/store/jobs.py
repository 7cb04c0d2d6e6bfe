"""Jobs: committed, shown, listed, canceled, deleted. Their names are `<tenant>/<id>`; a `Job` shows the id alone."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from cvpipe.errors import Conflict, NotFound
from cvpipe.gaps import Gap
from cvpipe.job import Delivery, Job, JobError, JobState, ModelUse, Outcome, Prediction, Progress, Stopped, WallClock
from cvpipe.store.connection import PREFIX, guarded, job_key, jobs_key
from cvpipe.store.tasks import GRACE_MS, Ring, read_rings
from cvpipe.store.workers import Workers
from cvpipe.tenants import id_of, owned

_JOBS_PAGE = 200
#: Who works on a job that is canceled is given this long to say that it has left.
LEAVING_MS = 1000
_ADVICE = {
    JobState.queued: "only one that has failed can be tried again; wait for its end",
    JobState.running: "only one that has failed can be tried again; wait for its end",
    JobState.paused: "resume it instead",
    JobState.canceling: "only one that has failed can be tried again; submit it again instead",
    JobState.canceled: "only one that has failed can be tried again; submit it again instead",
    JobState.succeeded: "there is nothing to try again",
    JobState.succeeded_with_gaps: "have it repaired instead",
}
_NO_REPAIR = {
    JobState.queued: "only a job that ended with gaps can be repaired; wait for its end",
    JobState.running: "only a job that ended with gaps can be repaired; wait for its end",
    JobState.paused: "only a job that ended with gaps can be repaired; resume it, and wait for its end",
    JobState.canceling: "only a job that ended with gaps can be repaired; submit it again instead",
    JobState.canceled: "only a job that ended with gaps can be repaired; submit it again instead",
    JobState.succeeded: "only a job that ended with gaps can be repaired, and it has none",
}

_DECODED = "use||"
_LATELY_SECONDS = 0.2


class Jobs(Workers):
    """What the API asks about jobs."""

    _known_served: tuple[float, frozenset[str]] = (-1.0, frozenset())

    @guarded
    def job(self, job_id: str) -> Job:
        """The job as the service shows it. Raises: NotFound."""
        found = self._existing([job_id])
        if not found:
            raise _no_job(job_id)
        gaps = self._redis.get(job_key(job_id) + ":gaps") if found[0].gaps_total else None
        return found[0] if gaps is None else found[0].model_copy(update={"gaps": _GAPS.validate_json(gaps)})

    @guarded
    def job_doc(self, job_id: str) -> dict[str, Any]:
        """What was committed with the job, with what the service alone may know. Raises: NotFound."""
        doc = self._redis.hget(job_key(job_id), "doc")
        if doc is None:
            raise _no_job(job_id)
        return json.loads(doc)

    @guarded
    def jobs(
        self,
        tenant: str,
        *,
        state: JobState | None = None,
        label: tuple[str, str] | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], str | None]:
        """A tenant's jobs, newest first, and the cursor of the next page. label: (key, value) that a job must carry."""
        found: list[Job] = []
        for job in self._newest_first(tenant, cursor):
            if (state is None or job.state == state) and (label is None or job.labels.get(label[0]) == label[1]):
                if len(found) == limit:
                    return found, f"{round(found[-1].created_at * 1000)}-{found[-1].id}"
                found.append(job)
        return found, None

    def _newest_first(self, tenant: str, cursor: str | None) -> Iterator[Job]:
        """Jobs behind a cursor. Seeks by time and id, so that jobs that come or go meanwhile shift nothing."""
        after: tuple[float, str] | None = None
        if cursor is not None:
            ms, _, last_id = cursor.partition("-")
            if not ms.isdigit():
                raise NotFound("there is no such page; start again without `cursor`", field="cursor")
            after = (float(ms), owned(tenant, last_id))
        page = _JOBS_PAGE
        while True:
            top = "+inf" if after is None else int(after[0])
            known = self._redis.zrevrangebyscore(jobs_key(tenant), top, "-inf", start=0, num=page, withscores=True)
            places = [(score, raw.decode()) for raw, score in known]
            fresh = [place for place in places if after is None or place < after]
            yield from self._existing([job_id for _, job_id in fresh])
            if len(known) < page:
                return
            # A whole page of one millisecond: look at more of it.
            after, page = (fresh[-1], _JOBS_PAGE) if fresh else (after, page * 2)

    def _existing(self, job_ids: Sequence[str]) -> list[Job]:
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hgetall(job_key(job_id))
            pipe.lrange(job_key(job_id) + ":deliveries", 0, -1)
        answers = pipe.execute()
        found = {
            job_id: read_job(job_id, fields, json.loads(fields[b"doc"]), deliveries)
            for job_id, fields, deliveries in zip(job_ids, answers[::2], answers[1::2], strict=True)
            if fields  # not deleted meanwhile
        }
        for job_id, what in self._waits([job_id for job_id, job in found.items() if not job.state.is_final]).items():
            if found[job_id].progress.waiting is None:
                found[job_id].progress.waiting = what
        return list(found.values())

    def _waits(self, job_ids: Sequence[str]) -> dict[str, str]:
        """What jobs wait for that nobody is at."""
        if not job_ids:
            return {}
        raw = self._scripts["waits"](args=list(job_ids))
        return self._waits_in_words(dict(zip(job_ids, raw, strict=True)))

    def _waits_in_words(self, waits: Mapping[str, Sequence[Any]], *, lately: bool = False) -> dict[str, str]:
        """What jobs wait for, of those that wait for something. waits: as `wait.lua` says it.

        lately: what was known of the workers _LATELY_SECONDS ago will do.
        """
        waits = {job_id: wait for job_id, wait in waits.items() if wait[0]}
        asked_at, served = self._known_served
        if waits and not (lately and time.monotonic() - asked_at < _LATELY_SECONDS):
            served = frozenset(queue for worker in self.workers() for queue in worker.queues)
            self._known_served = time.monotonic(), served
        return {
            job_id: _wait_in_words(kind.decode(), queue.decode(), int(number), served)
            for job_id, (kind, queue, number) in waits.items()
        }

    @guarded
    def unknown_jobs(self, job_ids: Sequence[str]) -> list[str]:
        """Those of these jobs that the store does not know."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.exists(job_key(job_id))
        return [job_id for job_id, known in zip(job_ids, pipe.execute(), strict=True) if not known]

    @guarded
    def tenants(self) -> list[str]:
        """Those that have jobs, by name."""
        return sorted(raw.decode() for raw in self._redis.smembers(PREFIX + "tenants"))

    @guarded
    def job_counts(self) -> dict[str, int]:
        """Jobs of all tenants by state (for /metrics; reads every job's state)."""
        ids = [raw for tenant in self.tenants() for raw in self._redis.zrange(jobs_key(tenant), 0, -1)]
        pipe = self._redis.pipeline(transaction=False)
        for raw in ids:
            pipe.hget(job_key(raw.decode()), "state")
        counts = dict.fromkeys((state.value for state in JobState), 0)
        for raw in pipe.execute():
            if raw is not None:
                counts[raw.decode()] += 1
        return counts

    @guarded
    def cancel(self, job_id: str) -> list[Ring]:
        """Take a job away from all who work on it; does nothing to one that is over. Raises: NotFound."""
        state, rings = self._commit("cancel", [job_id, GRACE_MS, LEAVING_MS])
        if not state:
            raise _no_job(job_id)
        return read_rings(rings)

    @guarded
    def pause(self, job_id: str) -> list[Ring]:
        """Have nobody work on a job until it is resumed; what is written stays. Returns tasks of those that waited.

        Raises: NotFound, Conflict.
        """
        raw, rings = self._commit("pause", [job_id, GRACE_MS])
        state = raw.decode()
        if not state:
            raise _no_job(job_id)
        if state not in (JobState.queued, JobState.running, JobState.paused):
            raise Conflict(f"the job is {state}; only one that is queued or running can be paused")
        return read_rings(rings)

    @guarded
    def resume(self, job_id: str) -> list[Ring]:
        """Have a paused job go on; does nothing to one that is queued or running. Raises: NotFound, Conflict."""
        raw, rings = self._commit("resume", [job_id, GRACE_MS])
        state = raw.decode()
        if not state:
            raise _no_job(job_id)
        if state not in (JobState.queued, JobState.running, JobState.paused):
            raise Conflict(f"the job is {state}; only one that is paused can be resumed")
        return read_rings(rings)

    @guarded
    def retry(self, job_id: str) -> list[Ring]:
        """Have a failed job go on from what is done; it is queued then. Raises: NotFound, Conflict."""
        verdict, state, rings = self._commit("retry", [job_id, secrets.token_hex(8), GRACE_MS])
        if verdict == b"none":
            raise _no_job(job_id)
        if verdict == b"state":
            raise Conflict(f"the job is {state.decode()}; {_ADVICE[JobState(state.decode())]}")
        return read_rings(rings)

    @guarded
    def repair(self, job_id: str) -> list[Ring]:
        """Have the frames of a job that have no results looked at again; it is queued then.

        Raises: NotFound, Conflict (nothing to repair, or not in this state).
        """
        verdict, state, rings = self._commit("repair", [job_id, secrets.token_hex(8), GRACE_MS])
        if verdict == b"none":
            raise _no_job(job_id)
        if verdict == b"state":
            raise Conflict(f"the job is {state.decode()}; {_NO_REPAIR[JobState(state.decode())]}")
        if verdict == b"stops":
            raise Conflict(
                "the job has a `stop_when`, and what a repair finds could end it earlier; submit it again instead"
            )
        if verdict == b"nothing":
            raise Conflict(
                f"the job is {state.decode()}, and none of its chunks has frames that could be tried again; "
                "submit it again instead"
            )
        return read_rings(rings)

    @guarded
    def say_waiting(self, job_id: str, what: str | None) -> None:
        """Show with a job what it waits for, where it is not over; None: it goes on."""
        self._scripts["note"](args=[job_id, (what or "")[:500]])

    @guarded
    def note_memory(self, job_id: str, memory_bytes: int) -> None:
        """Keep the most memory that a worker took while it worked on a job."""
        self._scripts["note_memory"](args=[job_id, memory_bytes])

    @guarded
    def ended_for(self, seconds: float, *, limit: int = 100) -> list[str]:
        """Jobs that have been over for so long, the oldest first."""
        now = self._redis.time()[0]
        found = self._redis.zrangebyscore(PREFIX + "ended", "-inf", (now - seconds) * 1000, start=0, num=limit)
        return [raw.decode() for raw in found]

    @guarded
    def add_use(self, job_id: str, use: Mapping[str, Mapping[str, float]]) -> None:
        """Add to what a job has used: numbers by model and name. Does nothing where the job is gone.

        The model "" is none: frames by what decoded them.
        """
        numbers = [(model, name, value) for model, values in use.items() for name, value in values.items() if value]
        if numbers:
            self._scripts["add_use"](args=[job_id, *(part for triple in numbers for part in triple)])

    @guarded
    def delete_job(self, job_id: str) -> None:
        """Remove all of a job that is over. Raises: NotFound, Conflict."""
        verdict = self._scripts["delete_job"](args=[job_id])
        if verdict == 0:
            raise _no_job(job_id)
        if verdict == -1:
            raise Conflict("the job is not over; cancel it first")


_GAPS = TypeAdapter(list[Gap])


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"there is no job {id_of(job_id)!r}")


def read_job(
    job_id: str, fields: Mapping[bytes, bytes], doc: Mapping[str, Any], deliveries: Sequence[bytes] = ()
) -> Job:
    """The job as the service shows it. fields: of its hash. doc: what was committed with it."""
    text = {key.decode(): value for key, value in fields.items()}
    video: str | None = text["video"].decode() if "video" in text else doc.get("video")

    def seconds(name: str) -> float | None:
        return int(text[name]) / 1000 if name in text else None

    def number(name: str) -> int | None:
        return int(text[name]) if name in text else None

    said = json.loads(text["prediction"]) if "prediction" in text else doc.get("prediction")
    prediction = None if said is None else Prediction.model_validate(said)
    return Job(
        id=id_of(job_id),
        state=JobState(text["state"].decode()),
        video=id_of(video) if video is not None else None,
        path=doc.get("path"),
        pipeline=doc["pipeline"],
        models=json.loads(text["models"]) if "models" in text else {},
        range=doc.get("range"),
        wall_clock=WallClock.model_validate_json(text["wall_clock"]) if text.get("wall_clock") else None,
        priority=doc["priority"],
        labels=doc["labels"],
        webhook_url=doc.get("webhook_url"),
        annotate=doc["annotate"],
        chunk_seconds=doc["chunk_seconds"],
        stop_when=doc.get("stop_when"),
        stopped=Stopped.model_validate_json(text["stopped"]) if "stopped" in text else None,
        timeout_seconds=doc.get("timeout_seconds"),
        from_job=id_of(doc["from"]) if doc.get("from") else None,
        dry_run=bool(doc.get("dry_run")),
        prediction=prediction,
        outcome=_outcome(prediction, text),
        reused=json.loads(text["reused"]) if text.get("reused") else [],
        progress=_progress(number).model_copy(
            update={"waiting": text["waiting"].decode() if "waiting" in text and "finished_at" not in text else None}
        ),
        usage=_usage(text),
        decoding=_decoding(text),
        error=JobError.model_validate_json(text["error"]) if text.get("error") else None,
        gaps_total=number("gaps_total") or 0,
        repairs=number("repairs") or 0,
        retries=number("retries") or 0,
        summary=json.loads(text["summary"]) if "summary" in text else {},
        created_at=seconds("created_at") or 0,
        started_at=seconds("started_at"),
        finished_at=seconds("finished_at"),
        deliveries=[Delivery.model_validate_json(raw) for raw in deliveries],
        exports=json.loads(text["exports"]) if "exports" in text else [],
        exports_failed=json.loads(text["exports_failed"]) if "exports_failed" in text else {},
    )


def _wait_in_words(kind: str, queue: str, number: int, served: Collection[str]) -> str:
    """See `wait.lua`. served: queues that some worker listens to."""
    jobs = "1 job" if number == 1 else f"{number} jobs"
    if kind == "slot":
        return f"{jobs} of the same tenant, as many as may be at work at once"
    if queue not in served:
        return f"no worker listens to `{queue}`"
    if kind == "retry":
        return f"a retry on `{queue}`, in {number / 1000:.0f} s"
    return f"{jobs} ahead on `{queue}`" if number else f"a free worker on `{queue}`"


def _outcome(prediction: Prediction | None, text: Mapping[str, bytes]) -> Outcome | None:
    """How good a prediction was, of a job that has done all its work."""
    if prediction is None or "output_bytes" not in text:
        return None
    came = {"seconds": int(text["ran_ms"]) / 1000, "output_bytes": float(text["output_bytes"])}
    if "memory_bytes" in text:
        came["memory_bytes"] = float(text["memory_bytes"])
    within = {name: getattr(prediction, name).holds(value) for name, value in came.items()}
    return Outcome(within=within, **came)


def _usage(text: Mapping[str, bytes]) -> dict[str, ModelUse]:
    """What the job has asked of networks, by model."""
    sums: dict[str, dict[str, float]] = {}
    for key, value in text.items():
        if key.startswith("use|") and not key.startswith(_DECODED):
            _, model, name = key.split("|")
            sums.setdefault(model, {})[name] = float(value)
    return {model: ModelUse.of(values) for model, values in sorted(sums.items())}


def _decoding(text: Mapping[str, bytes]) -> dict[str, int]:
    """Frames that were read for the job, by what decoded them."""
    found = {key.removeprefix(_DECODED): value for key, value in text.items() if key.startswith(_DECODED)}
    return {name: round(float(value)) for name, value in sorted(found.items())}


def _progress(number: Callable[[str], int | None]) -> Progress:
    done, total, since = number("frames_done") or 0, number("frames_total"), number("running_since")
    ran_ms = (number("ran_ms") or 0) + (0 if since is None else time.time() * 1000 - since)
    counted = done - (number("frames_before") or 0)
    fps = 1000 * counted / max(1, ran_ms) if counted > 0 and ran_ms else None
    return Progress(
        frames_done=done,
        frames_total=total,
        fraction=max(min(1.0, done / total) if total else 0.0, (number("least_permille") or 0) / 1000),
        fps=round(fps, 2) if fps else None,
        eta_seconds=round((total - done) / fps, 1) if fps and total and since is not None else None,
        chunks_done=number("chunks_done") or 0,
        chunks_total=number("chunks_total"),
        chunks_failed=number("chunks_failed") or 0,
    )
