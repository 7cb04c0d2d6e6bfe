"""`/v1/jobs/{id}/exports/{name}`: the files a job has made."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from cvpipe.api.identity import READ, JobName
from cvpipe.api.problems import respond, responses
from cvpipe.api.resources import SettingsDep, StoreDep
from cvpipe.errors import NotFound
from cvpipe.lifecycle import job_folder

router = APIRouter(prefix="/v1", tags=["results"])

MEDIA_TYPES: Final = {
    ".json": "application/json",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".ndjson": "application/x-ndjson",
    ".zip": "application/zip",
}


class Download(FileResponse):
    """A file, or a part of it; Starlette's plain text about a wrong `Range` becomes a problem document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        refused: Message | None = None

        async def send_unless_refused(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_unless_refused)
        if refused is not None:
            size = Headers(raw=refused["headers"]).get("content-range")
            detail = "the header Range names no part of the file" + (f" ({size})" if size else "")
            headers = {"Content-Range": size} if size else {}
            answer = respond("range_not_satisfiable", detail, instance=scope["path"], headers=headers)
            await answer(scope, receive, send)


@router.get(
    "/jobs/{job_id}/exports/{name}",
    operation_id="downloadExport",
    dependencies=[READ],
    summary="Download a file that the job made",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The file.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
        },
        206: {"description": "The part of the file that the header `Range` asked for."},
        **responses("not_found", "range_not_satisfiable", "invalid_request", "internal", "store_unavailable"),
    },
)
def download_export(
    job_id: JobName,
    name: Annotated[
        str,
        Path(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
            description="As listed under `exports` of the job.",
            examples=["frames.ndjson"],
        ),
    ],
    store: StoreDep,
    settings: SettingsDep,
) -> FileResponse:
    """A file listed under `exports` of the job: its records (`frames.ndjson`), what has happened
    (`events.ndjson`), the video with the findings drawn in (`annotated.mp4`), what stages make of
    some frames (`edges-000125.png`).

    Parts can be asked for with `Range`, so a player can seek in it and a broken download can go on.
    """
    job = store.job(job_id)
    path = job_folder(settings, job_id) / name
    if name not in job.exports or path.is_symlink() or not path.is_file():
        there = ", ".join(job.exports) or ("none" if job.state.is_final else f"none yet, it is {job.state}")
        raise NotFound(f"job {job.id!r} has no export {name!r}; there is: {there}")
    return Download(
        path, media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"), filename=f"{job.id}-{name}"
    )
