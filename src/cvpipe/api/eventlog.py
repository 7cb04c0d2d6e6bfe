"""`/v1/jobs/{id}/events-log`: what has happened in a job's video, while the job runs too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cvpipe.api.frames import NDJSON, wants_ndjson
from cvpipe.api.identity import READ, JobName
from cvpipe.api.problems import responses
from cvpipe.api.resources import StoreDep
from cvpipe.errors import InvalidRequest
from cvpipe.results import stream_ms
from cvpipe.store import Store

router = APIRouter(prefix="/v1", tags=["results"])

_BATCH: Final = 256


class EventObject(BaseModel):
    """Who takes part in an event, as on its frame of evidence."""

    stage: str
    label: str = Field(examples=["person"])
    box: list[float] = Field(
        min_length=4, max_length=4, description="x1, y1, x2, y2 in pixels of the displayed source frame."
    )
    track: int | None = None
    text: str | None = None


class LoggedEvent(BaseModel):
    """Something that has happened. One line of NDJSON, or one entry of `events`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": 3,
                    "kind": "zone_dwell",
                    "stage": "zones",
                    "start": 4.2,
                    "end": 17.8,
                    "start_frame": 42,
                    "end_frame": 178,
                    "evidence_frame": 96,
                    "evidence_time": 9.6,
                    "is_over": True,
                    "tracks": [2],
                    "objects": [{"stage": "people", "label": "person", "box": [310.5, 88, 392, 301], "track": 2}],
                    "values": {"zone": "door", "seconds": 13.6},
                }
            ]
        }
    )

    number: int = Field(ge=1, description="Place in the job's log.")
    kind: str = Field(description="What has happened; docs/stages.md says which stage tells of which kinds.")
    stage: str = Field(description="Name of the stage that tells of it.")
    start: float = Field(description="Seconds since the first frame.")
    end: float = Field(description="The same as `start` where it takes no time.")
    wall_time: datetime | None = Field(default=None, description="Of the start, where it is known.")
    start_frame: int
    end_frame: int
    evidence_frame: int = Field(description="The source frame that shows it best.")
    evidence_time: float
    is_over: bool = Field(description="False: the video ended first.")
    tracks: list[int] = Field(description="Of those who take part, ascending.")
    objects: list[EventObject]
    values: dict[str, Any] = Field(description="What else there is to say, by the kind.")


class EventPage(BaseModel):
    """Some events, in the order in which they were told: by their end."""

    events: list[LoggedEvent]
    next: str | None = Field(
        description="Hand it back as `cursor` to go on, later too; null: there is nothing more to come."
    )
    complete: bool = Field(description="These are the last events there will ever be in the range asked for.")


@router.get(
    "/jobs/{job_id}/events-log",
    operation_id="listEvents",
    dependencies=[READ],
    summary="What has happened in the video",
    response_model=EventPage,
    responses={
        200: {
            "description": "Events in the order told, each once.",
            "content": {
                NDJSON: {
                    "schema": {"type": "string", "description": "One LoggedEvent a line."},
                    "example": '{"number":1,"kind":"line_crossed","stage":"gate","start":3.2,"end":3.2,"tracks":[4]}\n',
                }
            },
        },
        **responses("not_found", "not_acceptable", "invalid_request", "internal", "store_unavailable"),
    },
)
def list_events(  # noqa: PLR0917 - FastAPI hands them over by name
    job_id: JobName,
    store: StoreDep,
    start: Annotated[
        float | None,
        Query(alias="from", ge=0, le=1e7, description="Seconds since the first frame: what is not over before."),
    ] = None,
    stop: Annotated[float | None, Query(alias="to", gt=0, le=1e7, description="Seconds: what begins before.")] = None,
    kind: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]] | None,
        Query(max_length=50, description="Only these kinds; may be repeated.", examples=[["line_crossed"]]),
    ] = None,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description="Events on a page, at most (JSON: 100 unless told; NDJSON: all).")
    ] = None,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$", description="`next` of the page before.", examples=["3200-1"]),
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What the job's sequence stages say has happened, in the order in which they tell it: when it is over.

    As JSON by pages, or, with `Accept: application/x-ndjson`, as one event a line: all that there are now. The header
    `Cvpipe-Complete` then tells whether they are the last ones.
    """
    if start is not None and stop is not None and stop <= start:
        raise InvalidRequest("wanted a `to` greater than `from`", field="to")
    kinds = frozenset(kind or ())
    if wants_ndjson(accept):
        over = store.job(job_id).state.is_final
        headers = {"Cvpipe-Complete": str(over).lower()} if limit is None else {}
        lines = _lines(store, job_id, start=start, stop=stop, kinds=kinds, after=cursor, limit=limit)
        return StreamingResponse(lines, media_type=NDJSON, headers=headers)
    found, complete = store.event_log(job_id, start=start, stop=stop, kinds=kinds, after=cursor, limit=limit or 100)
    following = None
    if not complete:
        following = found[-1][0] if found else cursor or f"{stream_ms(start or 0)}-0"
    body = f'{{"events":[{",".join(event.to_json() for _, event in found)}],"next":{json.dumps(following)},"complete":'
    return Response(f"{body}{json.dumps(complete)}}}", media_type="application/json")


def _lines(
    store: Store,
    job_id: str,
    *,
    start: float | None,
    stop: float | None,
    kinds: frozenset[str],
    after: str | None,
    limit: int | None,
) -> Iterator[str]:
    """Events as lines, `_BATCH` in memory at a time."""
    left = limit
    while left is None or left > 0:
        wanted = _BATCH if left is None else min(_BATCH, left)
        found, complete = store.event_log(job_id, start=start, stop=stop, kinds=kinds, after=after, limit=wanted)
        if found:
            after = found[-1][0]
            yield "".join(f"{event.to_json()}\n" for _, event in found)
        if complete or len(found) < wanted:
            return
        if left is not None:
            left -= len(found)
