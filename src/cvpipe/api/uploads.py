"""`/v1/uploads`: videos that arrive in several requests, as tus 1.0 has it (https://tus.io/protocols/resumable-upload).

Extensions: creation, checksum, termination, expiration. The last part makes a video of the file.
"""

from __future__ import annotations

import base64
import binascii
from email.utils import formatdate
from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from cvpipe import uploads
from cvpipe.api.identity import READ, SUBMIT, IdentityDep, UploadName
from cvpipe.api.problems import HttpProblem, responses
from cvpipe.api.resources import Resources, ResourcesDep
from cvpipe.errors import InvalidRequest
from cvpipe.sources.upload import check_free
from cvpipe.tenants import id_of
from cvpipe.uploads import Part, Upload

VERSION: Final = "1.0.0"
PART_TYPE: Final = "application/offset+octet-stream"

_WRITE_BYTES: Final = 2**20
_CHECK_BYTES: Final = 64 * 2**20


async def _same_version(
    version: Annotated[
        str | None, Header(alias="Tus-Resumable", description="The version of the protocol.", examples=[VERSION])
    ] = None,
) -> None:
    if version != VERSION:
        raise HttpProblem(
            "precondition_failed", f"wanted the header `Tus-Resumable: {VERSION}`, got {version or 'none'}",
            headers={"Tus-Version": VERSION, "Tus-Resumable": VERSION},
        )  # fmt: skip


router = APIRouter(prefix="/v1", tags=["videos"])
_TUS: Final = [Depends(_same_version), SUBMIT]
_ERRORS: Final = ("precondition_failed", "invalid_request", "internal", "unavailable", "store_unavailable")


class UploadState(BaseModel):
    """An upload on its way."""

    id: str
    length: int = Field(description="Bytes of the whole file.")
    offset: int = Field(description="Bytes that have arrived.")
    filename: str | None = Field(default=None, description="What the client calls it.")
    video: str | None = Field(default=None, description="Id of the video that it has become; null: not whole yet.")
    expires_at: float = Field(description="When it goes unless something is added; seconds since the epoch.")


@router.options(
    "/uploads",
    operation_id="getUploadOptions",
    dependencies=[SUBMIT],
    summary="What resumable uploads can do here",
    status_code=204,
    response_description="Told in headers.",
    responses=responses("invalid_request", "internal"),
)
async def get_upload_options(resources: ResourcesDep) -> Response:
    """Version, extensions, checksums and the largest file, in headers as tus has them."""
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": "creation,checksum,termination,expiration",
        "Tus-Checksum-Algorithm": ",".join(uploads.CHECKSUMS),
        "Tus-Max-Size": str(resources.settings.max_upload_bytes),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "/uploads",
    operation_id="createUpload",
    dependencies=_TUS,
    summary="Begin a resumable upload",
    status_code=201,
    response_class=Response,
    response_description="`Location` is where its parts go.",
    responses=responses(*_ERRORS, "too_large", "out_of_space"),
)
async def create_upload(
    resources: ResourcesDep,
    identity: IdentityDep,
    length: Annotated[
        int,
        Header(alias="Upload-Length", ge=1, le=2**53, description="Bytes of the whole file.", examples=[3455410]),
    ],
    metadata: Annotated[
        str | None,
        Header(
            alias="Upload-Metadata",
            max_length=4096,
            description="`filename` and its base64; other words are passed over.",
            examples=["filename ZG9vci5tcDQ="],
        ),
    ] = None,
) -> Response:
    """Announce a file; then send it with `PATCH`, in one part or many, and go on after whatever breaks.

    It is kept for a day after the last part (CVPIPE_UPLOAD_KEEP_SECONDS).
    """
    filename = _filename(metadata)
    lifecycle, data_dir = resources.lifecycle, resources.settings.data_dir

    def create() -> Upload:
        lifecycle.check_room(identity, length)
        return uploads.create(data_dir, identity.tenant, length=length, filename=filename, key=identity.key)

    upload = await anyio.to_thread.run_sync(create)
    headers = _headers(resources, upload) | {"Location": f"/v1/uploads/{id_of(upload.name)}"}
    return Response(status_code=201, headers=headers)


@router.head(
    "/uploads/{upload_id}",
    operation_id="getUploadOffset",
    dependencies=_TUS,
    summary="How far a resumable upload is",
    response_class=Response,
    response_description="Told in `Upload-Offset`; of one that is whole, `Cvpipe-Video` is the id of the video.",
    responses=responses("not_found", *_ERRORS),
)
def get_upload_offset(upload_id: UploadName, resources: ResourcesDep) -> Response:
    """Tell from which byte on to send the rest of the file after a connection broke."""
    upload = uploads.find(resources.settings.data_dir, upload_id)
    headers = _headers(resources, upload) | {"Upload-Length": str(upload.length)}
    if upload.video is not None:
        headers["Cvpipe-Video"] = id_of(upload.video)
    return Response(headers=headers)


@router.get(
    "/uploads/{upload_id}",
    operation_id="getUpload",
    dependencies=[READ],
    summary="A resumable upload, as JSON",
    response_model=UploadState,
    response_description="The upload.",
    responses=responses("not_found", "invalid_request", "internal"),
)
def get_upload(upload_id: UploadName, resources: ResourcesDep) -> Any:
    """How far it is; and, once it is whole, which video it has become."""
    settings = resources.settings
    return uploads.describe(uploads.find(settings.data_dir, upload_id), keep_seconds=settings.upload_keep_seconds)


@router.patch(
    "/uploads/{upload_id}",
    operation_id="appendToUpload",
    dependencies=_TUS,
    summary="Send a part of a resumable upload",
    status_code=204,
    response_class=Response,
    response_description="The part is on disk. Behind the last one, `Cvpipe-Video` is the id of the video.",
    responses=responses(
        "not_found", "conflict", "unsupported_media_type", "checksum_mismatch", "too_large", "out_of_space", *_ERRORS
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The bytes from `Upload-Offset` on.",
            "content": {PART_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def append_to_upload(  # noqa: PLR0917 - FastAPI hands them over by name
    upload_id: UploadName,
    request: Request,
    resources: ResourcesDep,
    identity: IdentityDep,
    offset: Annotated[
        int,
        Header(
            alias="Upload-Offset", ge=0, le=2**53, description="Where it begins: where the upload is.", examples=[0]
        ),
    ],
    checksum: Annotated[
        str | None,
        Header(alias="Upload-Checksum", max_length=200, description="`sha256` or `sha1`, and base64, of this part."),
    ] = None,
) -> Response:
    """A part that breaks off stays as far as it came; one with a checksum is taken whole or not at all.

    The answer to the last part comes once the whole file was read for its sha256.
    """
    if request.headers.get("content-type", "") != PART_TYPE:
        raise HttpProblem("unsupported_media_type", f"wanted Content-Type {PART_TYPE}")
    in_thread, data_dir = anyio.to_thread.run_sync, resources.settings.data_dir
    upload = await in_thread(uploads.find, data_dir, upload_id)
    part = await in_thread(lambda: Part(data_dir, upload, offset=offset, checksum=checksum))
    with part:
        try:
            await _receive(request, resources, part)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        await in_thread(part.end)
        headers = _headers(resources, upload) | {"Upload-Offset": str(part.offset)}
        if part.offset == upload.length:
            await in_thread(resources.lifecycle.check_room, identity, upload.length)
            stored = await in_thread(part.keep)

            def register() -> None:
                resources.lifecycle.register_upload(
                    stored.id, size=stored.size, filename=upload.filename, key=upload.key
                )
                uploads.note_video(data_dir, upload.name, stored.id)

            await in_thread(register)
            headers["Cvpipe-Video"] = id_of(stored.id)
    return Response(status_code=204, headers=headers)


@router.delete(
    "/uploads/{upload_id}",
    operation_id="endUpload",
    dependencies=_TUS,
    summary="End a resumable upload",
    status_code=204,
    response_model=None,
    response_description="It is gone; a video that it has become stays.",
    responses=responses("not_found", *_ERRORS),
)
def end_upload(upload_id: UploadName, resources: ResourcesDep) -> Response:
    """Give an upload up: what has arrived of the file is removed."""
    uploads.remove(resources.settings.data_dir, upload_id)
    return Response(status_code=204, headers={"Tus-Resumable": VERSION})


async def _receive(request: Request, resources: Resources, part: Part) -> None:
    """Write the body to disk. Memory: `_WRITE_BYTES` and one piece off the socket."""
    in_thread = anyio.to_thread.run_sync
    pending, checked = bytearray(), part.offset
    try:
        async for piece in request.stream():
            pending += piece
            if len(pending) >= _WRITE_BYTES:
                whole, pending = pending, bytearray()
                await in_thread(part.write, whole)
                if part.offset >= checked + _CHECK_BYTES:
                    await in_thread(check_free, resources.settings)
                    checked = part.offset
    finally:  # also of a connection that broke: the next part goes on behind it
        if pending:
            with anyio.CancelScope(shield=True):
                await in_thread(part.write, pending)


def _headers(resources: Resources, upload: Upload) -> dict[str, str]:
    expires = upload.touched_at + resources.settings.upload_keep_seconds
    return {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": formatdate(expires, usegmt=True),
        "Cache-Control": "no-store",
    }


def _filename(metadata: str | None) -> str | None:
    """The word `filename` of the metadata: pairs with commas between, each a word and its value in base64."""
    for pair in (metadata or "").split(","):
        word, _, encoded = pair.strip().partition(" ")
        if word == "filename":
            try:
                name = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, ValueError):
                raise InvalidRequest("wanted `filename` and its base64", field="Upload-Metadata") from None
            return "".join(c for c in name if c.isprintable() and c not in "/\\")[:255] or None
    return None
