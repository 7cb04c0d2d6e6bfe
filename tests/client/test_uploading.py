"""Large files: in parts, over lines that break."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cvpipe.client import uploading
from cvpipe.errors import ApiError, InvalidRequest, Unavailable
from tests.client.conftest import OneClient
from tests.client.fake import problem
from tests.client.network import Proxy
from tests.client.server import Service

ConnectTo = Callable[[str], OneClient]
Connect = Callable[[Callable[[httpx.Request], httpx.Response]], OneClient]

PART = 512 * 1024
SIZE = 2_500_000


@pytest.fixture(autouse=True)
def _parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_BYTES", PART)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "späte Straße.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


def stored(service: Service, sha256: str) -> bytes:
    return (service.settings.data_dir / "videos" / "default" / sha256[:2] / sha256).read_bytes()


def test_an_upload_goes_on_where_the_connection_broke(connect_to: ConnectTo, service: Service, file: Path) -> None:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    told: list[int] = []
    budgets = iter([PART * 3 // 2, PART * 2 // 3, PART * 5 // 2])  # bytes of requests until a connection is reset
    requests = itertools.chain(budgets, itertools.repeat(None))
    with Proxy(service.url, itertools.repeat(None), requests=requests) as proxy:
        video = connect_to(proxy.url).upload(file, on_progress=lambda sent, total: told.append(sent))
        assert proxy.cut == 3
    assert (video.id, video.size, video.filename) == (sha256, SIZE, file.name)
    assert stored(service, sha256) == file.read_bytes()
    assert told[-1] == SIZE
    back = [(before, after) for before, after in itertools.pairwise(told) if after < before]
    assert back
    assert all(before - after <= PART <= after for before, after in back), "more than a part was sent again"


@pytest.mark.parametrize("lost", [1, 4, 6], ids=lambda lost: f"answer {lost}")
def test_an_answer_that_is_lost_costs_nothing(connect_to: ConnectTo, service: Service, file: Path, lost: int) -> None:
    heads = [350 * lost]  # bytes of answers until the connection is reset: somewhere in answer 1, 2, ..., the last
    with Proxy(service.url, itertools.chain(heads, itertools.repeat(None))) as proxy:
        video = connect_to(proxy.url).upload(file)
        assert proxy.cut == 1
    assert video.id == hashlib.sha256(file.read_bytes()).hexdigest()
    assert stored(service, video.id) == file.read_bytes()


def test_a_file_of_one_byte_more_than_a_part_has_a_last_part_of_one_byte(
    connect_to: ConnectTo, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(os.urandom(PART + 1))
    assert connect_to(service.url).upload(file).size == PART + 1


def test_a_file_over_the_services_limit_is_refused_before_a_byte_is_sent(
    connect_to: ConnectTo, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(bytes(3_000_001))
    with pytest.raises(ApiError) as caught:
        connect_to(service.url).upload(file)
    assert caught.value.code == "too_large"


class Tus:
    """A service that takes parts; `faults`: what the next of them are answered with instead."""

    def __init__(self, *faults: httpx.Response) -> None:
        self.data = b""
        self.faults = list(faults)
        self.length = 0
        self.parts: list[int] = []
        self.reads = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.length = int(request.headers["upload-length"])
            return httpx.Response(201, headers={"location": "/v1/uploads/0123456789abcdef"})
        if request.method == "PATCH":
            offset, part = int(request.headers["upload-offset"]), request.read()
            self.parts.append(offset)
            digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
            assert request.headers["upload-checksum"] == f"sha256 {digest}"
            if self.faults:
                return self.faults.pop(0)
            assert offset == len(self.data)
            self.data += part
        elif request.method == "GET" and self.reads:
            return httpx.Response(200, json={"id": self.sha256, "size": self.length, "state": "indexing"})
        elif request.method == "GET":
            return problem(403, "forbidden")
        headers = {"upload-offset": str(len(self.data))}
        if len(self.data) == self.length:
            headers["cvpipe-video"] = self.sha256
        return httpx.Response(200 if request.method == "HEAD" else 204, headers=headers)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def test_a_part_that_arrives_changed_is_sent_again(connect: Connect, file: Path) -> None:
    service = Tus(problem(460, "checksum_mismatch"), problem(409, "conflict"), problem(503, "unavailable"))
    assert connect(service).upload(file).id == hashlib.sha256(file.read_bytes()).hexdigest()
    assert service.parts == [0, 0, 0, *range(0, SIZE, PART)]


def test_a_part_that_arrives_changed_again_and_again_is_told(connect: Connect, file: Path) -> None:
    with pytest.raises(ApiError, match="told: checksum_mismatch"):
        connect(Tus(*[problem(460, "checksum_mismatch") for _ in range(50)])).upload(file)


def test_an_upload_that_has_expired_is_told(connect: Connect, file: Path) -> None:
    with pytest.raises(ApiError, match="told: not_found"):
        connect(Tus(problem(404, "not_found"))).upload(file)


def test_a_key_that_may_only_submit_is_told_the_id(connect: Connect, file: Path) -> None:
    service = Tus()
    service.reads = False
    video = connect(service).upload(file)
    assert (video.id, video.size, video.state, video.filename) == (service.sha256, SIZE, "indexing", file.name)


def test_a_service_that_has_other_bytes_is_an_error(connect: Connect, file: Path) -> None:
    class Liar(Tus):
        sha256 = "0" * 64

    with pytest.raises(Unavailable, match="received other bytes than were sent"):
        connect(Liar()).upload(file)


def test_an_answer_that_is_no_uploads_ends_the_call(connect: Connect, file: Path) -> None:
    for answer in (httpx.Response(204), httpx.Response(204, headers={"upload-offset": "0"})):
        with pytest.raises(ApiError, match="is this the address of a cvpipe service"):
            connect(Tus(answer)).upload(file)


def test_a_file_that_becomes_shorter_ends_the_call(connect: Connect, file: Path) -> None:
    def shrink(sent: int, _total: int) -> None:
        if sent >= PART:
            os.truncate(file, PART + 10)

    with pytest.raises(InvalidRequest, match="became shorter while it was sent"):
        connect(Tus()).upload(file, on_progress=shrink)
