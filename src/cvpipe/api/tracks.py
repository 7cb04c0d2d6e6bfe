"""`/v1/jobs/{id}/tracks` and `/v1/jobs/{id}/crops/{file}`: what a job knows of each thing, and the pictures of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from cvpipe.api.exports import Download
from cvpipe.api.frames import NDJSON, wants_ndjson
from cvpipe.api.identity import READ, JobName
from cvpipe.api.problems import responses
from cvpipe.api.resources import SettingsDep, StoreDep
from cvpipe.errors import NotFound
from cvpipe.exports.crops import CROPS_FOLDER
from cvpipe.lifecycle import job_folder
from cvpipe.store import Store

router = APIRouter(prefix="/v1", tags=["results"])

_BATCH: Final = 256
_FILE: Final = r"^[a-z][a-z0-9_-]{0,63}-f[0-9]{6,12}-o[0-9]{1,6}\.jpg$"


class TrackPlace(BaseModel):
    """A frame that shows it."""

    frame: int = Field(ge=0)
    time: float = Field(ge=0, description="Seconds since the first frame of the video.")


class TrackCrop(BaseModel):
    """A crop of it."""

    stage: str = Field(description="Name of the stage that chose it.")
    file: str = Field(description="Its picture at `/v1/jobs/{id}/crops/{file}`.")
    frame: int = Field(ge=0)
    time: float = Field(ge=0)
    box: list[float] = Field(
        min_length=4, max_length=4, description="x1, y1, x2, y2 in pixels of the displayed source frame."
    )
    quality: float = Field(ge=0, le=1)


class Track(BaseModel):
    """What a job knows of one track. One line of NDJSON, or one entry of `tracks`."""

    stage: str = Field(description="Whose objects it joins.")
    track: int = Field(description="Its number: `track` of these objects.")
    label: str = Field(description="The one with most of the scores.", examples=["car"])
    score: float = Field(ge=0, le=1, description="The mean of its objects'.")
    frames: int = Field(ge=1, description="How many show it.")
    first: TrackPlace
    last: TrackPlace
    values: dict[str, Any] = Field(
        description="What its crops say together, by name of the stage that looked at them: the value, with "
        "`confidence`, `votes`, `crops` and `evidence`.",
        examples=[
            {
                "read_text": {
                    "text": "KA 4729",
                    "confidence": 0.97,
                    "votes": 2,
                    "crops": 3,
                    "evidence": ["best-f000012-o1.jpg", "best-f000060-o3.jpg"],
                }
            }
        ],
    )
    crops: list[TrackCrop] = Field(description="In order of time.")


class TrackPage(BaseModel):
    """Some tracks, in the order in which they begin."""

    tracks: list[Track]
    next: str | None = Field(description="Hand it back as `cursor` to go on; null: there is nothing more to come.")
    complete: bool = Field(description="These are the last tracks there will ever be.")


@router.get(
    "/jobs/{job_id}/tracks",
    operation_id="listTracks",
    dependencies=[READ],
    summary="Tracks, with what their crops say",
    response_model=TrackPage,
    responses={
        200: {
            "description": "Tracks in the order in which they begin.",
            "content": {NDJSON: {"schema": {"type": "string", "description": "One Track a line."}}},
        },
        **responses("not_found", "not_acceptable", "invalid_request", "internal", "store_unavailable"),
    },
)
def list_tracks(
    job_id: JobName,
    store: StoreDep,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description="Tracks on a page, at most (JSON: 100 unless told; NDJSON: all).")
    ] = None,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,9}$", description="`next` of the page before.", examples=["100"])
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """One record for each thing that a `track` stage followed: when it was seen, and with a stage `crops` what its
    crops say together, by vote. They are there once all frames of the job are done, and all crops.

    As JSON by pages, or, with `Accept: application/x-ndjson`, as one track a line.
    """
    is_over = store.job(job_id).state.is_final
    done = int(cursor or 0)
    if wants_ndjson(accept):
        headers = {"Cvpipe-Complete": str(is_over).lower()} if limit is None else {}
        return StreamingResponse(_lines(store, job_id, done, limit), media_type=NDJSON, headers=headers)
    found, is_last = store.tracks(job_id, after=done, limit=limit or 100)
    is_complete = is_last and is_over
    following = "null" if is_complete else f'"{done + len(found)}"'
    rows = ",".join(track.to_json() for track in found)
    body = f'{{"tracks":[{rows}],"next":{following},"complete":{str(is_complete).lower()}}}'
    return Response(body, media_type="application/json")


def _lines(store: Store, job_id: str, done: int, limit: int | None) -> Iterator[str]:
    """Tracks as lines, `_BATCH` in memory at a time."""
    left, is_last = limit, False
    while not is_last and (left is None or left > 0):
        found, is_last = store.tracks(job_id, after=done, limit=_BATCH if left is None else min(_BATCH, left))
        done += len(found)
        left = None if left is None else left - len(found)
        yield "".join(f"{track.to_json()}\n" for track in found)


@router.get(
    "/jobs/{job_id}/crops/{file}",
    operation_id="downloadCrop",
    dependencies=[READ],
    summary="Picture of a crop",
    response_class=Download,
    responses={
        200: {
            "description": "The picture.",
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The part of the file that the header `Range` asked for."},
        **responses("not_found", "range_not_satisfiable", "invalid_request", "internal", "store_unavailable"),
    },
)
def download_crop(
    job_id: JobName,
    file: Annotated[
        str,
        Path(pattern=_FILE, description="`file` of a crop of a track.", examples=["best-f000012-o1.jpg"]),
    ],
    store: StoreDep,
    settings: SettingsDep,
) -> Download:
    """A JPEG of what stages saw of an object: evidence of what they say. `crops.ndjson` lists all of a job."""
    job = store.job(job_id)
    path = job_folder(settings, job_id) / CROPS_FOLDER / file
    if path.is_symlink() or not path.is_file():
        raise NotFound(f"job {job.id!r} has no crop {file!r}; its tracks, and crops.ndjson, name those there are")
    return Download(path, media_type="image/jpeg", filename=f"{job.id}-{file}", content_disposition_type="inline")
