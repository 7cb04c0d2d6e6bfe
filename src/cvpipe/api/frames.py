"""`/v1/jobs/{id}/frames`: what a job has found, frame by frame, while it runs too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cvpipe.api.identity import READ, JobName
from cvpipe.api.problems import HttpProblem, responses
from cvpipe.api.resources import StoreDep
from cvpipe.errors import InvalidRequest
from cvpipe.results import stream_ms
from cvpipe.store import Store

router = APIRouter(prefix="/v1", tags=["results"])

NDJSON: Final = "application/x-ndjson"
_JSON: Final = "application/json"
_BATCH: Final = 256


class FoundMask(BaseModel):
    """Which pixels belong to an object: COCO's compressed run lengths."""

    size: tuple[int, int] = Field(description="Height and width of the displayed source frame, in pixels.")
    counts: str = Field(description="As `pycocotools` and other readers of COCO's files take it.")


class FoundObject(BaseModel):
    """One object on one frame."""

    stage: str = Field(description="Name of the stage that found it.")
    label: str = Field(examples=["person"])
    class_id: int | None = Field(description="Class of the model; null: the stage knows no classes.")
    score: float = Field(ge=0, le=1)
    box: list[float] = Field(
        min_length=4, max_length=4, description="x1, y1, x2, y2 in pixels of the displayed source frame."
    )
    track: int | None = Field(description="The same object has the same number on other frames; null: not tracked.")
    text: str | None = Field(description="What is written there; null: not read.")
    keypoints: list[tuple[float, float, float]] | None = Field(
        default=None,
        description="x, y in pixels of the displayed source frame, and score; in the order of the model's `keypoints`.",
    )
    mask: FoundMask | None = Field(default=None, description="Its pixels, where the network tells.")
    filled: bool = Field(
        default=False,
        description="Nobody saw it on this frame: it is where its track must have been (`fill_gaps` of `track`).",
    )
    values: dict[str, Any] | None = Field(
        default=None, description="What later stages found out about it, by name of the stage."
    )


class FrameRecord(BaseModel):
    """What a job knows of one frame. One line of NDJSON, or one entry of `frames`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "frame": 12,
                    "pts": 6144,
                    "time": 0.48,
                    "status": "ok",
                    "objects": [
                        {
                            "stage": "people",
                            "label": "person",
                            "class_id": 0,
                            "score": 0.91,
                            "box": [312.5, 88.0, 391.25, 305.5],
                            "track": 7,
                            "text": None,
                        }
                    ],
                    "values": {"edges": {"density": 0.0712}},
                }
            ]
        }
    )

    frame: int = Field(ge=0, description="Number of the source frame in display order, from 0.")
    pts: int = Field(description="Presentation time stamp, in the video's time base.")
    time: float = Field(ge=0, description="Seconds since the first frame of the video.")
    wall_time: datetime | None = Field(
        default=None,
        description="When it was recorded, to the millisecond, UTC; where the job's `starts_at` or the file tells.",
        examples=["2026-01-01T10:00:00.120Z"],
    )
    status: Literal["ok", "decode_error", "failed"] = Field(
        description="`decode_error`: the frame cannot be decoded; `failed`: its part of the video was given up."
    )
    degraded: bool = Field(
        default=False,
        description="The frame was looked at, but what it is predicted from is damaged: its picture may be wrong in "
        "places.",
    )
    objects: list[FoundObject]
    values: dict[str, Any] = Field(description="Results of stages that find no objects, by the stage's name.")
    error: str | None = Field(default=None, description="A code, where `status` is not `ok`.")


class FramePage(BaseModel):
    """Some records, in order of time."""

    frames: list[FrameRecord]
    next: str | None = Field(
        description="Hand it back as `cursor` to go on, later too; null: there is nothing more to come."
    )
    complete: bool = Field(description="These are the last records there will ever be in the range asked for.")


FrameCursor = Annotated[
    str | None,
    Query(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$", description="`next` of the page before.", examples=["480-13"]),
]


@router.get(
    "/jobs/{job_id}/frames",
    operation_id="listFrames",
    dependencies=[READ],
    summary="Frame records",
    response_model=FramePage,
    responses={
        200: {
            "description": "Records in order, each frame once.",
            "content": {
                NDJSON: {
                    "schema": {"type": "string", "description": "One FrameRecord a line."},
                    "example": '{"frame":12,"pts":6144,"time":0.48,"status":"ok","objects":[],"values":{}}\n',
                }
            },
        },
        **responses("not_found", "not_acceptable", "invalid_request", "internal", "store_unavailable"),
    },
)
def list_frames(  # noqa: PLR0917 - FastAPI hands them over by name
    job_id: JobName,
    store: StoreDep,
    start: Annotated[
        float | None, Query(alias="from", ge=0, le=1e7, description="Seconds since the first frame: this and later.")
    ] = None,
    stop: Annotated[float | None, Query(alias="to", gt=0, le=1e7, description="Seconds: before this.")] = None,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description="Records on a page, at most (JSON: 100 unless told; NDJSON: all).")
    ] = None,
    cursor: FrameCursor = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What was found on each frame, in order of time, each frame once. While it runs too: `complete` tells the end.

    As JSON by pages, or, with `Accept: application/x-ndjson`, as one record a line: all that there are now. The header
    `Cvpipe-Complete` then tells whether they are the last ones.
    """
    if start is not None and stop is not None and stop <= start:
        raise InvalidRequest("wanted a `to` greater than `from`", field="to")
    if wants_ndjson(accept):
        over = store.job(job_id).state.is_final
        headers = {"Cvpipe-Complete": str(over).lower()} if limit is None else {}
        lines = _lines(store, job_id, start=start, stop=stop, after=cursor, limit=limit)
        return StreamingResponse(lines, media_type=NDJSON, headers=headers)
    found, complete = store.frames(job_id, start=start, stop=stop, after=cursor, limit=limit or 100)
    following = None
    if not complete:
        following = found[-1][0] if found else cursor or f"{stream_ms(start or 0)}-0"
    # The records are JSON already; to check and write them again would take three times as long.
    body = (
        f'{{"frames":[{",".join(record.to_json() for _, record in found)}],"next":{json.dumps(following)},"complete":'
    )
    return Response(f"{body}{json.dumps(complete)}}}", media_type=_JSON)


def _lines(
    store: Store, job_id: str, *, start: float | None, stop: float | None, after: str | None, limit: int | None
) -> Iterator[str]:
    """Records as lines, `_BATCH` in memory at a time; runs in a thread for each batch, not in between."""
    left = limit
    while left is None or left > 0:
        wanted = _BATCH if left is None else min(_BATCH, left)
        found, complete = store.frames(job_id, start=start, stop=stop, after=after, limit=wanted)
        if found:
            after = found[-1][0]
            yield "".join(f"{record.to_json()}\n" for _, record in found)
        if complete or len(found) < wanted:
            return
        if left is not None:
            left -= len(found)


def wants_ndjson(accept: str | None) -> bool:
    """Whether a client prefers lines to pages (RFC 9110, 12.5.1). Raises: HttpProblem (406) where it wants neither."""
    weights: dict[str, float] = {}
    for item in (accept or "*/*").split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights[kind] = max(weight, weights.get(kind, 0.0))
    other = weights.get("application/*", weights.get("*/*", 0.0))
    lines = max(weights.get(NDJSON, 0.0), weights.get("application/jsonl", 0.0))
    pages = weights.get(_JSON, other)
    if lines <= 0 and pages <= 0:
        raise HttpProblem("not_acceptable", f"there is {_JSON} and {NDJSON}, not {accept!r}")
    return lines > pages or (lines == pages and NDJSON in weights and _JSON not in weights)
