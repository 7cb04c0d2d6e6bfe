"""/v1/videos on a running service."""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service

MIB = 2**20


def files(settings: Settings) -> list[Path]:
    """What the data directory holds of videos, finished or not."""
    folder = settings.data_dir / "videos"
    return [path for path in folder.rglob("*") if path.is_file()]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def test_an_upload_is_kept_under_its_hash_and_has_an_address(api: httpx.Client, settings: Settings) -> None:
    body = bytes(range(256)) * 10_000  # more than one write
    response = api.put("/v1/videos", content=body, params={"filename": "door.mp4"})
    video = response.json()
    sha256 = hashlib.sha256(body).hexdigest()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/videos/{sha256}"
    assert video == {
        "id": sha256,
        "size": len(body),
        "state": "indexing",
        "facts": None,
        "error": None,
        "filename": "door.mp4",
        "created_at": pytest.approx(time.time(), abs=60),
    }
    assert files(settings) == [settings.data_dir / "videos" / "default" / sha256[:2] / sha256]
    assert files(settings)[0].read_bytes() == body
    assert api.get(response.headers["location"]).json() == video


def test_the_same_file_twice_is_the_same_video(api: httpx.Client, settings: Settings) -> None:
    first = api.put("/v1/videos", content=b"the same")
    again = api.put("/v1/videos", content=b"the same", params={"filename": "other-name.mp4"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert len(files(settings)) == 1


def test_what_was_measured_is_shown(api: httpx.Client, store: Store) -> None:
    video = worker.upload(api)["id"]
    facts = (
        '{"container":"mov,mp4","codec":"h264","pixel_format":"yuv420p","width":768,"height":432,"display_width":432,'
        '"display_height":768,"rotation":90,"frames":377,"duration_seconds":30.16,"fps":12.5,"time_base":"1/12800",'
        '"stream":0,"header":{"frames":377}}'
    )
    store.put_video(worker.named(video), state="ready", facts=facts)
    shown = api.get(f"/v1/videos/{video}").json()
    assert shown["state"] == "ready"
    assert (shown["facts"]["display_width"], shown["facts"]["frames"], shown["facts"]["stream"]) == (432, 377, 0)


def test_an_empty_body_is_refused(api: httpx.Client, settings: Settings) -> None:
    response = api.put("/v1/videos")
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid_request")
    assert files(settings) == []


def test_a_form_is_refused_with_the_way_to_do_it(api: httpx.Client, settings: Settings) -> None:
    response = api.put("/v1/videos", files={"file": b"video"})
    assert (response.status_code, response.json()["type"]) == (415, "/problems/unsupported_media_type")
    assert "raw body" in response.json()["detail"]
    assert files(settings) == []


def test_a_file_over_the_limit_is_refused_by_its_declared_length_before_it_is_read(
    service: Service, settings: Settings
) -> None:
    with connect(service) as raw:
        raw.sendall(head(settings.max_upload_bytes + 1))  # and not one byte of the body
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert files(settings) == []


def test_a_file_over_the_limit_is_refused_while_it_arrives(api: httpx.Client, settings: Settings) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(settings.max_upload_bytes // MIB + 2):
            yield bytes(MIB)

    response = api.put("/v1/videos", content=chunks())
    assert (response.status_code, response.json()["type"]) == (413, "/problems/too_large")
    assert "CVPIPE_MAX_UPLOAD_BYTES" in response.json()["detail"]
    assert files(settings) == []


def test_a_file_as_large_as_the_limit_is_taken(api: httpx.Client, settings: Settings) -> None:
    assert worker.upload(api, bytes(settings.max_upload_bytes))["size"] == settings.max_upload_bytes


def test_a_broken_connection_leaves_nothing_behind(service: Service, settings: Settings) -> None:
    with connect(service) as raw:
        raw.sendall(head(2 * MIB + 10) + bytes(2 * MIB))
        wait_for(lambda: [path.stat().st_size >= MIB for path in files(settings)] == [True])
    wait_for(lambda: files(settings) == [])


def test_a_disk_that_is_full_is_a_problem_to_try_again_after(
    api: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cvpipe.sources.upload.os.write", write)
    response = api.put("/v1/videos", content=b"video")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert "disk is full" in response.json()["detail"]
    assert int(response.headers["retry-after"]) > 0
    assert files(settings) == []


def test_other_requests_are_answered_during_an_upload(service: Service, api: httpx.Client) -> None:
    with connect(service) as raw:
        raw.sendall(head(2 * MIB) + bytes(MIB))
        assert api.get("/healthz").status_code == 200
        assert api.get("/v1/jobs").json() == {"jobs": [], "next": None}
        raw.sendall(bytes(MIB))
        assert raw.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_remains_of_a_killed_upload_are_swept_when_the_service_starts(settings: Settings) -> None:
    folder = settings.data_dir / "videos" / ".incoming"
    folder.mkdir(parents=True)
    (folder / "old").write_bytes(b"half")
    (folder / "young").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    os.utime(folder / "old", (yesterday, yesterday))
    service = Service(settings)
    service.start()
    service.stop()
    assert [path.name for path in files(settings)] == ["young"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v1/videos/" + "0" * 64, 404, id="unknown"),
        pytest.param("/v1/videos/nonsense", 422, id="no hash"),
        pytest.param("/v1/videos/" + "A" * 64, 422, id="upper case"),
    ],
)
def test_a_video_that_is_not_there_is_a_problem(api: httpx.Client, path: str, status: int) -> None:
    response = api.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("filename", ["../x", "a/b", "a\\b", "a\nb", "a\x00b", "x" * 256])
def test_a_file_name_that_is_a_path_or_holds_control_characters_is_refused(api: httpx.Client, filename: str) -> None:
    response = api.put("/v1/videos", content=b"video", params={"filename": filename})
    assert (response.status_code, response.json()["field"]) == (422, "filename")


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60)


def head(length: int) -> bytes:
    return f"PUT /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
