"""`/v1/videos`: send a video, ask for its facts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from cvpipe.api.identity import READ, SUBMIT, IdentityDep, VideoName
from cvpipe.api.problems import HttpProblem, responses
from cvpipe.api.resources import LifecycleDep, SettingsDep
from cvpipe.errors import NotFound
from cvpipe.job import JobError
from cvpipe.lifecycle import Lifecycle
from cvpipe.settings import Settings
from cvpipe.sources.upload import Incoming, StoredVideo, check_free
from cvpipe.tenants import id_of

router = APIRouter(prefix="/v1", tags=["videos"])

# Bytes come off the socket in pieces of 64 KiB or less; a trip to a thread for each would cost more than the writing.
_WRITE_BYTES = 2**20
_CHECK_BYTES = 64 * 2**20


class VideoFacts(BaseModel):
    """What was measured from every packet of the file, next to what the file says of itself."""

    model_config = ConfigDict(extra="allow")

    container: str
    codec: str
    pixel_format: str | None = None
    width: int = Field(description="Coded width, pixels.")
    height: int = Field(description="Coded height, pixels.")
    display_width: int = Field(description="Width after rotation, pixels: what boxes refer to.")
    display_height: int = Field(description="Height after rotation, pixels.")
    rotation: int = Field(
        description="Degrees clockwise by which the coded picture is turned to be shown: 0, 90, 180 or 270."
    )
    frames: int = Field(description="Counted.")
    duration_seconds: float = Field(description="Measured.")
    fps: float = Field(description="Measured average.")
    time_base: str = Field(description="Unit of `pts`, seconds: `num/den`.", examples=["1/12800"])
    mirrored: bool = Field(default=False, description="And flipped left to right after the rotation.")
    sample_aspect_ratio: str = Field(default="1/1", description="Width over height of a pixel; shown, not applied.")
    field_order: Literal["progressive", "top", "bottom"] = Field(
        default="progressive", description="Of interlaced video: the field that comes first."
    )
    colour: dict[str, str] = Field(
        default_factory=dict, description="`space`, `range`, `primaries`, `transfer`, in FFmpeg's words."
    )
    timing: Literal["file", "counted"] = Field(
        default="file", description="`counted`: the file has no usable times; they were made up from the frames' order."
    )
    header: dict[str, Any] = Field(
        default_factory=dict,
        description="The file's own claims, which may be wrong: `frames`, `duration_seconds`, `fps`, `bit_rate`, "
        "`creation_time`.",
    )
    streams: list[dict[str, Any]] = Field(default_factory=list, description="All streams of the file.")
    warnings: list[JobError] = Field(
        default_factory=list, description="What is wrong with the file although it can be read."
    )


class Video(BaseModel):
    """One recorded file that the service holds, known by its sha256."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "size": 3455410,
                    "state": "indexing",
                    "facts": None,
                    "error": None,
                    "filename": "door.mp4",
                    "created_at": 1767225600.125,
                }
            ]
        }
    )

    id: str = Field(description="sha256 of the file.")
    size: int = Field(description="Bytes.")
    state: Literal["indexing", "ready", "failed"] = Field(description="`ready` once its frames are counted.")
    facts: VideoFacts | None = Field(default=None, description="Known once the video is `ready`.")
    error: JobError | None = Field(default=None, description="Why it `failed`.")
    filename: str | None = Field(default=None, description="What the client called it.")
    created_at: float = Field(description="Seconds since the epoch.")


@router.put(
    "/videos",
    operation_id="uploadVideo",
    dependencies=[SUBMIT],
    summary="Upload a video",
    status_code=201,
    response_model=Video,
    response_description="The video is stored; its facts follow within moments.",
    responses={
        200: {"model": Video, "description": "The same bytes were here before: the same video."},
        **responses(
            "too_large",
            "unsupported_media_type",
            "invalid_request",
            "internal",
            "unavailable",
            "store_unavailable",
            "out_of_space",
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file's bytes as they are: `curl -T door.mp4 .../v1/videos?filename=door.mp4`.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
        }
    },
)
async def upload_video(  # noqa: PLR0917 - FastAPI hands them over by name
    request: Request,
    response: Response,
    lifecycle: LifecycleDep,
    settings: SettingsDep,
    identity: IdentityDep,
    filename: Annotated[
        str | None,
        Query(
            max_length=255,
            pattern=r"^[^\x00-\x1f\x7f/\\]+$",
            description="Kept for you to read.",
            examples=["door.mp4"],
        ),
    ] = None,
) -> Any:
    """Send the file as the raw body; it goes to disk as it arrives. The same file twice is the same video.

    The answer comes once the file is safely on disk. A body over the limit (CVPIPE_MAX_UPLOAD_BYTES, or the key's
    quotas) is refused, by its `Content-Length` before any of it is read. A broken connection leaves nothing behind.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HttpProblem("unsupported_media_type", "send the file as the raw body, not as a form: curl -T FILE URL")
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    limit = await anyio.to_thread.run_sync(lifecycle.check_room, identity, size)
    try:
        stored = await _receive(request, settings, identity.tenant, limit)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    video, new = await anyio.to_thread.run_sync(_register, lifecycle, stored, filename, identity.key)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/videos/{id_of(stored.id)}"
    return video


async def _receive(request: Request, settings: Settings, tenant: str, limit: int) -> StoredVideo:
    """Write the body to disk. Memory: `_WRITE_BYTES` and one piece off the socket."""
    in_thread = anyio.to_thread.run_sync
    incoming = await in_thread(lambda: Incoming(settings.data_dir, tenant, limit=limit))
    try:
        pending, checked = bytearray(), 0
        async for piece in request.stream():
            pending += piece
            if len(pending) >= _WRITE_BYTES:
                await in_thread(incoming.write, pending)
                if incoming.size >= checked + _CHECK_BYTES:  # its length may have been left open
                    await in_thread(check_free, settings)
                    checked = incoming.size
                pending = bytearray()
        if pending:
            await in_thread(incoming.write, pending)
        return await in_thread(incoming.keep)
    finally:
        incoming.discard()


def _register(
    lifecycle: Lifecycle, stored: StoredVideo, filename: str | None, key: str | None
) -> tuple[dict[str, Any], bool]:
    """The video as the service shows it, and whether it is new to the store (its file may be left from before)."""
    try:
        lifecycle.video(stored.id)
        new = False
    except NotFound:
        new = True
    return lifecycle.register_upload(stored.id, size=stored.size, filename=filename, key=key), new


@router.get(
    "/videos/{video_id}",
    operation_id="getVideo",
    dependencies=[READ],
    summary="Facts of a video",
    response_model=Video,
    response_description="The video.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def get_video(video_id: VideoName, lifecycle: LifecycleDep) -> Any:
    """What the service knows of an uploaded video: frames counted, duration and frame rate measured, codec, size."""
    return lifecycle.video(video_id)


@router.delete(
    "/videos/{video_id}",
    operation_id="deleteVideo",
    dependencies=[SUBMIT],
    summary="Remove a video",
    status_code=204,
    response_model=None,
    response_description="Nothing of the video is left but what jobs have found.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def delete_video(video_id: VideoName, lifecycle: LifecycleDep) -> None:
    """Remove a video with its pictures and clips. Jobs that looked at it keep their results, and can't be repaired.

    Refused while a job that isn't over looks at it.
    """
    lifecycle.delete_video(video_id)
