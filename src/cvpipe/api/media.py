"""Pictures, contact sheets and clips of `/v1/videos/{id}`, made by a worker; and the index of its frames.

This process never opens a video: it asks the actor `media`, waits for the file, and hands it out.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Final, Literal, TypeVar

import anyio
from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from cvpipe.api.exports import Download
from cvpipe.api.frames import NDJSON
from cvpipe.api.identity import READ, VideoName
from cvpipe.api.problems import TYPES, HttpProblem, responses
from cvpipe.api.resources import Resources, ResourcesDep
from cvpipe.errors import Conflict, InvalidRequest, Unavailable
from cvpipe.library import Refused
from cvpipe.media import MEDIA_TYPES, Damage, Excerpt, read_damage
from cvpipe.tenants import id_of
from cvpipe.video import VideoIndex

router = APIRouter(prefix="/v1", tags=["videos"])

T = TypeVar("T")

CACHE: Final = "private, max-age=31536000, immutable"
"""The address names the content of the video and all that was asked for: what it leads to never changes."""

_FIRST_WAIT_SECONDS: Final = 0.01
_LONGEST_WAIT_SECONDS: Final = 0.2
_BATCH: Final = 1000

_PROBLEMS: Final = (
    "not_found", "conflict", "range_not_satisfiable", "invalid_request", "media_unreadable", "frame_damaged",
    "decoder_crashed", "decode_timeout", "internal", "unavailable", "store_unavailable",
)  # fmt: skip

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", include_in_schema=False)]
Width = Annotated[
    int | None, Query(ge=16, le=8192, description="Pixels; the height follows. Nothing is enlarged. Default: its own.")
]


_DAMAGE_HEADERS: Final = {
    "Cvpipe-Damaged-Frames": {
        "description": "How many frames in it are damaged. In a sheet their places are dark "
        "red; a clip shows the frame before instead, and where it begins with damaged frames the first whole one (a "
        "clip of copied packets has them as they are).",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Cvpipe-First-Damaged-Frame": {
        "description": "Number of the first of them in the video; absent where there is none.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
_WARNINGS_HEADER: Final = {
    "Cvpipe-Warnings": {
        "description": "Codes of what is wrong with the whole file, divided by commas: `media_truncated` of one that "
        "is cut off. Absent where nothing is.",
        "schema": {"type": "string"},
    }
}


def _files(*suffixes: str, tells_damage: bool = False) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that hands out files."""
    headers = {"headers": {**_DAMAGE_HEADERS, **_WARNINGS_HEADER}} if tells_damage else {}
    return {
        200: {
            "description": "The file.",
            **headers,
            "content": {MEDIA_TYPES[s]: {"schema": {"type": "string", "format": "binary"}} for s in suffixes},
        },
        206: {"description": "The part of the file that the header `Range` asked for.", **headers},
        304: {"description": "The client has it: its `If-None-Match` names this file."},
        **responses(*_PROBLEMS),
    }


@router.get(
    "/videos/{video_id}/frames/{number}.{format}",
    operation_id="getFramePicture",
    dependencies=[READ],
    summary="A frame as a picture",
    response_class=Download,
    responses=_files(".jpg", ".png"),
)
async def get_frame_picture(  # noqa: PLR0917 - FastAPI hands them over by name
    video_id: VideoName,
    number: Annotated[int, Path(ge=0, le=99_999_999, description="In display order, from 0.", examples=[1200])],
    format: Annotated[Literal["jpg", "png"], Path(description="PNG is lossless.")],
    resources: ResourcesDep,
    width: Width = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One frame as it is shown: exactly this one, rotated and in the colours that the video declares."""
    excerpt = Excerpt("frame", format, number=number, width=width)
    return await _serve(resources, video_id, excerpt, if_none_match)


@router.get(
    "/videos/{video_id}/thumbnail.jpg",
    operation_id="getThumbnail",
    dependencies=[READ],
    summary="A small picture that stands for the video",
    response_class=Download,
    responses=_files(".jpg"),
)
async def get_thumbnail(
    video_id: VideoName,
    resources: ResourcesDep,
    width: Annotated[int, Query(ge=16, le=2048, description="Pixels; the height follows.")] = 320,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A frame near the beginning that can be decoded."""
    return await _serve(resources, video_id, Excerpt("thumbnail", width=width), if_none_match)


@router.get(
    "/videos/{video_id}/sheet.jpg",
    operation_id="getSheet",
    dependencies=[READ],
    summary="A contact sheet",
    response_class=Download,
    responses=_files(".jpg", tells_damage=True),
)
async def get_sheet(  # noqa: PLR0917 - see get_frame_picture
    video_id: VideoName,
    resources: ResourcesDep,
    columns: Annotated[int, Query(ge=1, le=20, description="Pictures in a row.")] = 6,
    rows: Annotated[int, Query(ge=1, le=50, description="Rows of pictures.")] = 4,
    width: Annotated[int, Query(ge=64, le=8192, description="Of the whole sheet, pixels.")] = 1920,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The video at a glance: evenly spaced frames with their times."""
    return await _serve(resources, video_id, Excerpt("sheet", columns=columns, rows=rows, width=width), if_none_match)


@router.get(
    "/videos/{video_id}/clip",
    operation_id="getClip",
    dependencies=[READ],
    summary="A part of the video as a file of its own",
    response_class=Download,
    responses=_files(".mp4", tells_damage=True),
)
async def get_clip(
    video_id: VideoName,
    resources: ResourcesDep,
    start: Annotated[
        float, Query(alias="from", ge=0, le=1e7, description="Seconds since the first frame: this and later.")
    ] = 0,
    stop: Annotated[
        float | None, Query(alias="to", gt=0, le=1e7, description="Seconds: before this. Default: the end.")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The frames with `from` <= time < `to` as an MP4 without sound; packets are copied where that is exact, else
    encoded anew.

    A long clip takes a while: answered 503, ask again after `Retry-After`; the worker goes on meanwhile.
    """
    if stop is not None and stop <= start:
        raise InvalidRequest("wanted a `to` greater than `from`", field="to")
    return await _serve(resources, video_id, Excerpt("clip", "mp4", start=start, stop=stop), if_none_match)


@router.get(
    "/videos/{video_id}/index",
    operation_id="getIndex",
    dependencies=[READ],
    summary="Every frame of the video: number, time, size",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One frame a line, in display order.",
            "headers": _WARNINGS_HEADER,
            "content": {
                NDJSON: {
                    "schema": {"type": "string", "description": "One object a line."},
                    "example": '{"number":12,"pts":6144,"time":0.48,"keyframe":false,"reference":true,"bytes":5123}\n',
                }
            },
        },
        304: {"description": "The client has it: its `If-None-Match` names this index."},
        **responses("not_found", "conflict", "invalid_request", "media_unreadable", "internal", "unavailable",
                    "store_unavailable"),
    },
)  # fmt: skip
async def get_index(video_id: VideoName, resources: ResourcesDep, if_none_match: IfNoneMatch = None) -> Response:
    """The index that was made of the packets alone: `bytes` is the size of the frame's packet, 0 where not known."""
    index = await _until_made(resources, video_id, lambda: resources.lifecycle.index_of(video_id), what="index")
    tag = await anyio.to_thread.run_sync(lambda: f'"{hashlib.sha256(index.pack()).hexdigest()[:32]}"')
    # Unlike a picture it may change: a newer version of cvpipe may know more of a frame.
    warnings = [str(warning["code"]) for warning in index.facts.warnings]
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **_warnings(warnings)}
    if _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return StreamingResponse(_lines(index), media_type=NDJSON, headers=headers)


async def _serve(resources: Resources, video_id: str, excerpt: Excerpt, if_none_match: str | None) -> Response:
    """The file, once it is made. Raises: what keeps it from being made."""
    what = "picture" if excerpt.kind != "clip" else "clip"
    path = await _until_made(resources, video_id, lambda: resources.lifecycle.look_for(video_id, excerpt), what=what)
    stat = await anyio.Path(path).stat()
    # Made again after it was swept away, a clip may differ in its bytes: a part of one must not be joined to another.
    tag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers = {"ETag": tag, "Cache-Control": CACHE}
    if excerpt.tells_damage:
        headers |= await anyio.to_thread.run_sync(lambda: _told(read_damage(path)))
    if _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Download(
        path,
        media_type=MEDIA_TYPES[path.suffix],
        headers=headers,
        filename=f"{id_of(video_id)[:12]}-{path.name}",
        content_disposition_type="inline",
    )


def _told(damage: Damage) -> dict[str, str]:
    """Headers that say what is not right with a file."""
    first = {} if damage.first is None else {"Cvpipe-First-Damaged-Frame": str(damage.first)}
    return {"Cvpipe-Damaged-Frames": str(damage.frames), **first, **_warnings(damage.warnings)}


def _warnings(codes: Iterable[str]) -> dict[str, str]:
    said = ", ".join(dict.fromkeys(codes))
    return {"Cvpipe-Warnings": said} if said else {}


async def _until_made(resources: Resources, video_id: str, look: Callable[[], T | None], *, what: str) -> T:
    """What `look` finds, asked again and again while a worker is at it; between two looks no thread is held.

    Raises: HttpProblem (it can't be made), Conflict (still being indexed), Unavailable (not made in time), NotFound.
    """
    deadline = time.monotonic() + resources.settings.media_wait_seconds
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            found = await anyio.to_thread.run_sync(look)
        except Refused as refused:
            code = refused.error.code if refused.error.code in TYPES else "internal"
            detail = refused.error.message if code != "internal" else "The worker's log has the details."
            raise HttpProblem(code, detail) from None
        if found is not None:
            return found
        if time.monotonic() + wait > deadline or resources.stopping.is_set():
            break
        with anyio.move_on_after(wait):
            await resources.stopping.wait()
        wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)
    video = await anyio.to_thread.run_sync(resources.lifecycle.video, video_id)
    if video["state"] == "indexing":
        raise Conflict("the video is still being indexed; ask again when its `state` is `ready`")
    raise Unavailable(f"the {what} is not made yet; ask again (it needs a worker that serves the queue `media`)")


def _matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client has what `tag` names (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    named = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in named or "*" in named


def _lines(index: VideoIndex) -> Iterator[str]:
    """The frames as lines, `_BATCH` at a time."""
    for first in range(0, len(index), _BATCH):
        part = slice(first, first + _BATCH)
        columns = (index.pts[part], index.times[part], index.keyframe[part], index.reference[part], index.size[part])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        yield "".join(
            json.dumps(
                {"number": first + n, "pts": pts, "time": at, "keyframe": key, "reference": reference, "bytes": size},
                separators=(",", ":"),
            )
            + "\n"
            for n, (pts, at, key, reference, size) in enumerate(rows)
        )
