"""`/v1/jobs/{id}/events`: follow a job as server-sent events, and take up exactly where a broken connection left off.

An event's id is two places, `<in the job's events>_<in its frame records>`: of each, the last one sent up to here.
A stream without end must not hold a thread: between two looks at the store it only sleeps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import anyio
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel, Field

from cvpipe.api.identity import READ, IdentityDep, JobName
from cvpipe.api.jobs import shown
from cvpipe.api.problems import responses
from cvpipe.api.resources import Resources, ResourcesDep
from cvpipe.api.streams import HeldStream, Place
from cvpipe.errors import NotFound, QuotaExceeded, StoreUnavailable
from cvpipe.job import Job, JobState, Progress
from cvpipe.results import FrameRecord
from cvpipe.tenants import id_of

router = APIRouter(prefix="/v1", tags=["results"])

_log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0

_BATCH: Final = 200
_FIRST_WAIT_SECONDS: Final = 0.04
_LONGEST_WAIT_SECONDS: Final = 0.25
#: So long after the last news the waits stay short: a job that was just posted begins within moments.
_EAGER_SECONDS: Final = 3.0
#: Records, and the job itself, are looked for this often even where no event announces a change.
_LOOK_EVERY_SECONDS: Final = 0.25
_RETRY_MS: Final = 2000


LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern=r"^[0-9]{1,15}-[0-9]{1,15}_[0-9]{1,15}-[0-9]{1,15}$",
        description="Id of the last event that arrived.",
        examples=["1767225600125-0_480-13"],
    ),
]


class JobProgress(BaseModel):
    """Data of a `progress` event."""

    state: JobState
    progress: Progress
    at: float = Field(description="Seconds since the epoch.")


class Position(NamedTuple):
    """How far a stream is: ids of the last event and of the last frame record that were sent."""

    event: str = "0-0"
    frame: str = "0-0"

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """The place that an event's id names; without one, the beginning."""
        if text is None:
            return cls()
        event, _, frame = text.partition("_")
        return cls(event, frame)

    def __str__(self) -> str:
        return f"{self.event}_{self.frame}"


@router.get(
    "/jobs/{job_id}/events",
    operation_id="followJob",
    dependencies=[READ],
    summary="Follow a job (server-sent events)",
    response_class=StreamingResponse,  # EventSourceResponse here would make FastAPI take the route for a generator
    response_model=None,
    responses={
        204: {"description": "All events were sent before: there is nothing to follow any more."},
        **responses("not_found", "quota_exceeded", "invalid_request", "internal", "unavailable", "store_unavailable"),
    },
)
async def follow_job(
    job_id: JobName,
    resources: ResourcesDep,
    identity: IdentityDep,
    frames: Annotated[bool, Query(description="Send `frame` events too.")] = True,
    last_event_id: LastEventId = None,
) -> Response:
    """What happens to a job, from its beginning or from `Last-Event-ID` on, until it is over.

    Events: `progress` (a JobProgress), `frame` (a FrameRecord; each frame once, in order) and, at the end, `done` (the
    Job); then the stream ends. Comments keep a quiet connection alive. A stream that ends without `done` was cut off:
    connect again with the last event's id, as browsers do by themselves.
    """
    follower = Follower(resources, job_id, Position.parse(last_event_id), frames=frames)
    if last_event_id is not None and await anyio.to_thread.run_sync(follower.is_over):
        return Response(status_code=204)  # at which browsers stop connecting again
    # Asked before the answer begins: afterwards nothing could be told with a status any more.
    await anyio.to_thread.run_sync(resources.store.job, job_id)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    place = Place(resources, identity)
    await place.take()
    stream = HeldStream(_encoded(follower, job_id, place), headers=headers)
    stream.place = place
    return stream


async def _encoded(follower: Follower, job_id: str, place: Place) -> AsyncIterator[bytes]:
    """The events as bytes, with comments in between when nothing happens."""
    # FastAPI's own way, a route that yields, raises in its keep-alive task whenever a client goes away in mid-send.
    yield format_sse_event(comment=f"job {id_of(job_id)}", retry=_RETRY_MS)
    sent_at = time.monotonic()
    try:
        async for events in follower:
            await place.hold()
            if events:
                yield b"".join(events)
                sent_at = time.monotonic()
            elif time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
                yield KEEPALIVE_COMMENT
                sent_at = time.monotonic()
    except NotFound:
        _log.info("job %s was deleted while it was followed", job_id)
    except (QuotaExceeded, StoreUnavailable) as error:
        # The answer has begun and cannot become a 503: it ends, the client connects again and is told.
        _log.warning("the events of job %s break off: %s", job_id, error)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one look at the store found. events: without the last one of a job that is over, which is `end`."""

    events: list[tuple[str, dict[str, Any]]]
    end: str | None
    records: list[tuple[str, FrameRecord]]
    job: Job | None
    drained: bool


class Follower:
    """Reads what is new about a job, batch by batch. Memory: `_BATCH` events and records, twice (read, and encoded)."""

    def __init__(self, resources: Resources, job_id: str, place: Position, *, frames: bool) -> None:
        self._store = resources.store
        self._stopping = resources.stopping
        self._job_id = job_id
        self._place = place
        self._frames = frames
        self._looked_at = 0.0

    def is_over(self) -> bool:
        """Whether nothing follows the place to begin at. Blocking. Raises: NotFound, StoreUnavailable."""
        events = self._store.events(self._job_id, after=self._place.event, limit=1)
        return self._store.job(self._job_id).state.is_final and not events

    async def __aiter__(self) -> AsyncIterator[list[bytes]]:
        """Encoded events, none where there is no news, until the job is over or the service stops.

        Raises: NotFound, StoreUnavailable.
        """
        news_at = time.monotonic()
        wait = _FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            batch = await anyio.to_thread.run_sync(self._read)
            yield list(self._encode(batch))
            if batch.end is not None and batch.drained:
                return
            if batch.events or batch.records:
                news_at, wait = time.monotonic(), _FIRST_WAIT_SECONDS
            elif time.monotonic() - news_at > _EAGER_SECONDS:
                wait = min(_LONGEST_WAIT_SECONDS, wait * 1.5)
            if batch.drained:
                with anyio.move_on_after(wait):
                    await self._stopping.wait()

    def _read(self) -> _Batch:
        """News. Events come first: records read after the event that ends a job are all there are."""
        events = self._store.events(self._job_id, after=self._place.event, limit=_BATCH)
        drained = len(events) < _BATCH
        end = events.pop()[0] if events and _is_end(events[-1][1]) else None
        now = time.monotonic()
        look = bool(events) or end is not None or now - self._looked_at >= _LOOK_EVERY_SECONDS
        records: list[tuple[str, FrameRecord]] = []
        job = None
        if self._frames and look:
            records, _ = self._store.frames(self._job_id, after=self._place.frame, limit=_BATCH)
            drained = drained and len(records) < _BATCH
        if events or end is not None or (look and not self._frames):  # without news: is it still there?
            job = self._store.job(self._job_id)
        if look:
            self._looked_at = now
        return _Batch(events, end, records, job, drained)

    def _encode(self, batch: _Batch) -> Iterator[bytes]:
        """The batch as events, each with the place behind it."""
        if batch.job is not None and batch.events:
            # Several steps of progress come to the same: where the job is now.
            last, event = batch.events[-1]
            self._place = Position(last, self._place.frame)
            progress = JobProgress(state=batch.job.state, progress=batch.job.progress, at=event["at"])
            yield format_sse_event(event="progress", data_str=progress.model_dump_json(), id=str(self._place))
        for stream_id, record in batch.records:
            self._place = Position(self._place.event, stream_id)
            yield format_sse_event(event="frame", data_str=record.to_json(), id=str(self._place))
        if batch.job is not None and batch.end is not None and batch.drained:
            self._place = Position(batch.end, self._place.frame)
            yield format_sse_event(event="done", data_str=shown(batch.job).model_dump_json(), id=str(self._place))


def _is_end(event: Mapping[str, Any]) -> bool:
    kind = str(event["type"])
    return kind.startswith("job.") and JobState(kind.removeprefix("job.")).is_final
