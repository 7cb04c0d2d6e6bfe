"""Sending a file: a small one at once, a large one in parts that survive a connection (tus 1.0, docs/client.md)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from cvpipe.client.answers import check, document, malformed, read_as
from cvpipe.client.calls import Calls
from cvpipe.client.steps import FOLLOW_WAITS, Ask, Call, OnTransfer, Patch, Put, Sleep, Transfer, Work, jittered
from cvpipe.client.video import Video
from cvpipe.errors import Unavailable

PART_BYTES: Final = 8 * 2**20
"""Files of this size or more go in parts of it. What a broken connection costs, and what is held in memory, is one."""

_TUS: Final = {"tus-resumable": "1.0.0"}
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_CHECKSUM_MISMATCH: Final = 460


def upload(calls: Calls, path: str | os.PathLike[str], on_progress: OnTransfer | None) -> Call[Video]:
    """Send a file; its sha256 as the service has it must be that of what was sent."""
    source = Path(path)
    transfer = Transfer(source, on_progress)
    # Kept for people to read: a name that is not Unicode, or too long, must not stop an upload.
    shown = source.name.encode(errors="replace").decode(errors="replace")[-255:]
    filename = shown if shown.isprintable() else None
    if transfer.size < PART_BYTES:
        # The same bytes are the same video, so sending them again is safe.
        request = Put("/v1/videos", {} if filename is None else {"filename": filename}, source, transfer)
        response = yield from calls.take(request)
        video = read_as(Video, document(response), response=response)
    else:
        known = yield from _in_parts(calls, transfer, filename)
        video = yield from _shown(calls, known, transfer.size, filename)
    if transfer.sent == transfer.size and video.id != transfer.sha256:
        raise Unavailable(f"{source}: the service received other bytes than were sent; upload it again")
    return video


def _in_parts(calls: Calls, transfer: Transfer, filename: str | None) -> Call[str]:
    """The id of the video that the file has become."""
    headers = {**_TUS, "upload-length": str(transfer.size)}
    if filename is not None:
        headers["upload-metadata"] = f"filename {base64.b64encode(filename.encode()).decode()}"
    response = yield from calls.take(Ask("POST", "/v1/uploads", headers=headers))
    check(response)
    found = re.search(r"/v1/uploads/([0-9a-f]+)$", response.headers.get("location", ""))
    if found is None:
        raise malformed(response, "the address of an upload")
    path, offset, left = f"/v1/uploads/{found[1]}", 0, jittered(FOLLOW_WAITS)
    while True:
        transfer.tell(offset)
        part = yield Work(partial(transfer.read, offset, PART_BYTES))
        response = yield from calls.take(_patch(path, offset, part, transfer), waits=FOLLOW_WAITS)
        is_in = response.is_success
        if response.status_code in (_CONFLICT, _CHECKSUM_MISMATCH):
            # A try whose answer was lost has arrived, or still holds the upload; or the part came changed.
            wait = next(left, None)
            if wait is None:
                check(response)
            yield Sleep(wait or 0)
            response = yield from calls.take(Ask("HEAD", path, headers=_TUS), waits=FOLLOW_WAITS)
        check(response)
        moved = _offset(response)
        if moved is None or moved > offset + len(part) or (is_in and moved != offset + len(part)):
            raise malformed(response, "how far the upload is")
        if moved > offset:
            left = jittered(FOLLOW_WAITS)
        offset = moved
        if offset == transfer.size and (video := response.headers.get("cvpipe-video")):
            transfer.tell(offset)
            return str(video)
        if offset == transfer.size and is_in:
            raise malformed(response, "the id of the video")


def _patch(path: str, offset: int, part: bytes, transfer: Transfer) -> Patch:
    digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
    headers = {
        **_TUS,
        "content-type": "application/offset+octet-stream",
        "upload-offset": str(offset),
        "upload-checksum": f"sha256 {digest}",
    }
    return Patch(path, headers, offset, part, transfer)


def _offset(response: httpx.Response) -> int | None:
    told = response.headers.get("upload-offset", "")[:19]
    return int(told) if told.isascii() and told.isdecimal() else None


def _shown(calls: Calls, video: str, size: int, filename: str | None) -> Call[Video]:
    """What the service shows of a video just sent; a key that may only submit is not shown it."""
    response = yield from calls.take(Ask("GET", f"/v1/videos/{quote(video, safe='')}"))
    if response.status_code == _FORBIDDEN:
        return Video(id=video, size=size, state="indexing", filename=filename)
    return read_as(Video, document(response), response=response)
