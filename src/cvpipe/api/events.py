"""`/v1/jobs/{id}/events`: follow a job as server-sent events, and take up exactly where a broken connection left off.

An event's id is two places, `<in the job's events>_<in its frame records>`: of each, the last one sent up to here.
A stream without end must not hold a thread: between two looks at the store it only sleeps.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import anyio
from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from cvpipe.api.jobs import JobId, shown
from cvpipe.api.problems import responses
from cvpipe.api.resources import Resources, ResourcesDep
from cvpipe.errors import InvalidRequest, NotFound, StoreUnavailable
from cvpipe.job import Job, JobState, Progress
from cvpipe.results import FrameRecord
from cvpipe.store import Store

router = APIRouter(prefix="/v1", tags=["results"])

_log = logging.getLogger(__name__)

_BATCH: Final = 200
_FIRST_WAIT_SECONDS: Final = 0.04
_LONGEST_WAIT_SECONDS: Final = 0.25
#: So long after the last news the waits stay short: a job that was just posted begins within moments.
_EAGER_SECONDS: Final = 3.0
#: Records are looked for this often even where no event announces them.
_FRAMES_EVERY_SECONDS: Final = 0.25
_RETRY_MS: Final = 2000

_ID = re.compile(r"^([0-9]{1,15}(?:-[0-9]{1,15})?)_([0-9]{1,15}-[0-9]{1,15})$")


LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID", description="Id of the last event that arrived.", examples=["1767225600125-0_480-13"]
    ),
]


class JobProgress(BaseModel):
    """Data of a `progress` event."""

    state: JobState
    progress: Progress
    at: float = Field(description="Seconds since the epoch.")


class Place(NamedTuple):
    """How far a stream is: ids of the last event and of the last frame record that were sent."""

    event: str = "0"
    frame: str = "0-0"

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that an event's id names. Raises: InvalidRequest."""
        match = _ID.match(text)
        if match is None:
            raise InvalidRequest(
                "this is no id of an event of a job; leave it out to begin anew", field="Last-Event-ID"
            )
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.event}_{self.frame}"


class StreamOver(Exception):
    """Nothing follows the event that the client had last: it gets a 204, at which browsers stop connecting again."""


async def _place(job_id: JobId, resources: ResourcesDep, last_event_id: LastEventId = None) -> Place:
    """Where to begin; asked before the answer begins, so that what is wrong can still be told with a status."""
    place = Place() if last_event_id is None else Place.parse(last_event_id)
    job, events = await anyio.to_thread.run_sync(_look, resources.store, job_id, place)
    if last_event_id is not None and job.state.is_final and not events:
        raise StreamOver
    return place


def _look(store: Store, job_id: str, place: Place) -> tuple[Job, list[tuple[str, dict[str, Any]]]]:
    events = store.events(job_id, after=place.event, limit=_BATCH)
    return store.job(job_id), events


@router.get(
    "/jobs/{job_id}/events",
    operation_id="followJob",
    summary="Follow a job (server-sent events)",
    response_class=EventSourceResponse,
    response_model=None,
    responses={
        204: {"description": "All events were sent before: there is nothing to follow any more."},
        **responses("not-found", "invalid-request", "internal", "store-unavailable"),
    },
)
async def follow_job(
    job_id: JobId,
    resources: ResourcesDep,
    place: Annotated[Place, Depends(_place)],
    frames: Annotated[bool, Query(description="Send `frame` events too.")] = True,
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a job, from its beginning or from `Last-Event-ID` on, until it is over.

    Events: `progress` (a JobProgress), `frame` (a FrameRecord; each frame once, in order) and, at the end, `done` (the
    Job); then the stream ends. Comments keep a quiet connection alive. A stream that ends without `done` was cut off:
    connect again with the last event's id, as browsers do by themselves.
    """
    follower = Follower(resources, job_id, place, frames=frames)
    yield ServerSentEvent(retry=_RETRY_MS, comment=f"job {job_id}")
    try:
        async for event in follower:
            yield event
    except NotFound:
        _log.info("job %s was deleted while it was followed", job_id)
    except StoreUnavailable as error:
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
    """Reads what is new about a job, batch by batch. Memory: `_BATCH` events and records."""

    def __init__(self, resources: Resources, job_id: str, place: Place, *, frames: bool) -> None:
        self._store = resources.store
        self._stopping = resources.stopping
        self._job_id = job_id
        self._place = place
        self._frames = frames
        self._frames_at = 0.0

    async def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        """Events until the job is over or the service stops. Raises: NotFound, StoreUnavailable."""
        news_at = time.monotonic()
        wait = _FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            batch = await anyio.to_thread.run_sync(self._read)
            for event in self._sent(batch):
                yield event
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
        look = bool(events) or end is not None or now - self._frames_at >= _FRAMES_EVERY_SECONDS
        records: list[tuple[str, FrameRecord]] = []
        if self._frames and look:
            records, _ = self._store.frames(self._job_id, after=self._place.frame, limit=_BATCH)
            drained = drained and len(records) < _BATCH
            self._frames_at = now
        return _Batch(
            events=events,
            end=end,
            records=records,
            job=self._store.job(self._job_id) if look else None,
            drained=drained,
        )

    def _sent(self, batch: _Batch) -> Iterator[ServerSentEvent]:
        """The batch as events, each with the place behind it."""
        if batch.job is not None and batch.events:
            # Several steps of progress come to the same: where the job is now.
            last, event = batch.events[-1]
            self._place = Place(last, self._place.frame)
            data = JobProgress(state=batch.job.state, progress=batch.job.progress, at=event["at"])
            yield ServerSentEvent(event="progress", data=data, id=str(self._place))
        for stream_id, record in batch.records:
            self._place = Place(self._place.event, stream_id)
            yield ServerSentEvent(event="frame", raw_data=record.to_json(), id=str(self._place))
        if batch.job is not None and batch.end is not None and batch.drained:
            self._place = Place(batch.end, self._place.frame)
            yield ServerSentEvent(event="done", data=shown(batch.job), id=str(self._place))


def _is_end(event: Mapping[str, Any]) -> bool:
    kind = str(event["type"])
    return kind.startswith("job.") and JobState(kind.removeprefix("job.")).is_final
