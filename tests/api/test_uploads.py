"""Resumable uploads, as a tus client asks for them."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from cvpipe import uploads
from cvpipe.quotas import Quotas
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from tests.api.conftest import Service
from tests.api.test_identity import House, guarded, house

__all__ = ["guarded", "house"]  # fixtures

TUS = {"Tus-Resumable": "1.0.0"}
BODY = bytes(range(256)) * 4000  # about a megabyte


def begin(api: httpx.Client, length: int = len(BODY), **headers: str) -> str:
    answer = api.post("/v1/uploads", headers={**TUS, "Upload-Length": str(length), **headers})
    assert (answer.status_code, answer.headers["tus-resumable"]) == (201, "1.0.0"), answer.text
    return answer.headers["location"]


def send(api: httpx.Client, where: str, offset: int, part: bytes, **headers: str) -> httpx.Response:
    told = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **headers}
    return api.patch(where, content=part, headers=told)


def offset(api: httpx.Client, where: str) -> int:
    answer = api.head(where, headers=TUS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    return int(answer.headers["upload-offset"])


def left(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir / "uploads").rglob("*") if path.is_file()]


def test_a_file_that_came_in_parts_is_the_video_that_it_is_in_one(api: httpx.Client, settings: Settings) -> None:
    where = begin(api, **{"Upload-Metadata": "filetype dmlkZW8=,filename " + base64.b64encode(b"door.mp4").decode()})
    assert offset(api, where) == 0
    for start in range(0, len(BODY), 400_000):
        answer = send(api, where, start, BODY[start : start + 400_000])
        end = min(start + 400_000, len(BODY))
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(end))
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert answer.headers["cvpipe-video"] == sha256
    video = api.get(f"/v1/videos/{sha256}").json()
    assert (video["size"], video["state"], video["filename"]) == (len(BODY), "indexing", "door.mp4")
    assert (settings.data_dir / "videos" / "default" / sha256[:2] / sha256).read_bytes() == BODY
    known = api.get(where).json()
    assert (known["offset"], known["length"], known["video"]) == (len(BODY), len(BODY), sha256)
    assert send(api, where, len(BODY), b"").status_code == 409
    assert api.put("/v1/videos", content=BODY).status_code == 200


def test_what_arrived_before_a_connection_broke_is_kept(service: Service, api: httpx.Client) -> None:
    where = begin(api)
    host, _, port = service.url.removeprefix("http://").partition(":")
    head = f"PATCH {where} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n"
    head += "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n\r\n"
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(head.encode() + BODY[:300_000])
        until = time.monotonic() + 60
        while (busy := send(api, where, 1, b"x")).json()["detail"].startswith("the upload is at 0"):
            assert time.monotonic() < until, "the first part never began"
        assert (busy.status_code, "another part" in busy.json()["detail"]) == (409, True)
    until = time.monotonic() + 60
    while offset(api, where) != 300_000:
        assert time.monotonic() < until, offset(api, where)
        time.sleep(0.01)
    assert send(api, where, 300_000, BODY[300_000:]).headers["cvpipe-video"] == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_a_part_is_compared_with_its_checksum(api: httpx.Client, algorithm: str) -> None:
    where = begin(api, 8)
    assert send(api, where, 0, b"ab").status_code == 204
    digest = base64.b64encode(hashlib.new(algorithm, b"cdefgh").digest()).decode()
    wrong = send(api, where, 2, b"cdefgX", **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert (wrong.status_code, wrong.json()["type"]) == (460, "/problems/checksum_mismatch")
    assert offset(api, where) == 2
    right = send(api, where, 2, b"cdefgh", **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert right.headers["cvpipe-video"] == hashlib.sha256(b"abcdefgh").hexdigest()


def test_what_is_wrong_with_a_part_is_told_and_changes_nothing(api: httpx.Client) -> None:
    where = begin(api, 8)
    send(api, where, 0, b"abcd")
    for answer, status in (
        (send(api, where, 0, b"abcd"), 409),
        (send(api, where, 5, b"efgh"), 409),
        (send(api, where, 4, b"efghi"), 422),
        (send(api, where, 4, b"efgh", **{"Content-Type": "text/plain"}), 415),
        (send(api, where, 4, b"efgh", **{"Upload-Checksum": "md5 AAAA"}), 422),
        (send(api, where, 4, b"efgh", **{"Upload-Checksum": "sha256 ?"}), 422),
        (send(api, where, 4, b"efgh", **{"Tus-Resumable": "0.2.2"}), 412),
        (send(api, f"/v1/uploads/{'0' * 32}", 0, b"x"), 404),
    ):
        assert answer.status_code == status, answer.text
    assert offset(api, where) == 4
    version = send(api, where, 4, b"efgh", **{"Tus-Resumable": "0.2.2"})
    assert version.json()["type"] == "/problems/precondition_failed"
    assert version.headers["tus-version"] == "1.0.0"


def test_an_upload_that_can_not_be_is_refused_before_it_begins(api: httpx.Client, settings: Settings) -> None:
    for headers, status in (
        ({"Upload-Length": "0"}, 422), ({}, 422), ({"Upload-Length": str(settings.max_upload_bytes + 1)}, 413),
        ({"Upload-Length": "5", "Upload-Metadata": "filename ?"}, 422),
        ({"Upload-Length": "5", "Tus-Resumable": "2"}, 412),
    ):  # fmt: skip
        assert api.post("/v1/uploads", headers={**TUS, **headers}).status_code == status, headers
    assert left(settings) == []


def test_an_upload_can_be_ended(api: httpx.Client, settings: Settings) -> None:
    where = begin(api, 8)
    send(api, where, 0, b"abcd")
    assert api.delete(where, headers=TUS).status_code == 204
    assert api.head(where, headers=TUS).status_code == 404
    assert left(settings) == []


def test_an_upload_that_is_left_alone_expires_and_is_swept(api: httpx.Client, settings: Settings) -> None:
    old, young = begin(api, 8), begin(api, 8)
    answer = send(api, young, 0, b"abcd")
    expires = parsedate_to_datetime(answer.headers["upload-expires"]).timestamp()
    assert expires == pytest.approx(time.time() + settings.upload_keep_seconds, abs=60)
    for path in left(settings):
        if path.parent.name == old.rpartition("/")[2]:
            os.utime(path, (1, 1))
            os.utime(path.parent, (1, 1))
    assert uploads.sweep(settings.data_dir, keep_seconds=3600) == 1
    assert api.head(old, headers=TUS).status_code == 404
    assert offset(api, young) == 4


def test_a_tus_client_learns_what_it_can_do(api: httpx.Client, settings: Settings) -> None:
    answer = api.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,checksum,termination,expiration"
    assert answer.headers["tus-checksum-algorithm"] == "sha256,sha1"
    assert answer.headers["tus-max-size"] == str(settings.max_upload_bytes)


def test_quotas_hold_for_resumable_uploads_at_their_beginning_and_their_end(house: House) -> None:
    with house.client(house.key(Scope.admin, quotas=Quotas(upload_bytes=10, stored_bytes=12))) as api:
        for length, status in ((11, 413), (10, 201)):
            headers = {**TUS, "Upload-Length": str(length)}
            assert api.post("/v1/uploads", headers=headers).status_code == status
        first, second = begin(api, 8), begin(api, 8)
        assert send(api, first, 0, b"abcdefgh").status_code == 204
        full = send(api, second, 0, b"ABCDEFGH")
        assert (full.status_code, full.json()["type"]) == (507, "/problems/out_of_space")
        sent = hashlib.sha256(b"abcdefgh").hexdigest()
        assert api.delete(f"/v1/videos/{sent}").status_code == 204
        assert send(api, second, 8, b"").headers["cvpipe-video"] == hashlib.sha256(b"ABCDEFGH").hexdigest()
