"""Quotas of keys, as clients meet them: 413, 429 and 507, with what to do about it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cvpipe.quotas import Quotas
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from tests.api import worker
from tests.api.conftest import Service
from tests.api.test_identity import House, files, guarded, house
from tests.servers import RedisServer

__all__ = ["guarded", "house"]  # fixtures


def holder(house: House, **quotas: Any) -> httpx.Client:
    """A client whose key may take so much."""
    return house.client(house.key(Scope.admin, quotas=Quotas(**quotas)))


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


def test_an_upload_over_the_key_s_limit_is_refused_whether_or_not_its_length_is_declared(house: House) -> None:
    with holder(house, upload_bytes=10) as api:
        assert refusal(api.put("/v1/videos", content=b"x" * 11)) == (413, "too_large")
        assert refusal(api.put("/v1/videos", content=(b"x" for _ in range(11)))) == (413, "too_large")
        assert refusal(api.post("/v1/models", content=b"x" * 11, params={"name": "n"})) == (413, "too_large")
        assert files(house) == []
        assert api.put("/v1/videos", content=b"x" * 10).status_code == 201


def test_a_key_that_has_stored_what_it_may_gets_room_again_by_deleting(house: House) -> None:
    with holder(house, stored_bytes=10) as api:
        video = api.put("/v1/videos", content=b"123456").json()["id"]
        answer = api.put("/v1/videos", content=b"abcdef")
        assert refusal(answer) == (507, "out_of_space")
        assert answer.json()["detail"] == "the key may store 10 bytes of videos; 4 are left"
        assert api.put("/v1/videos", content=b"abcd").status_code == 201
        assert refusal(api.put("/v1/videos", content=b"z")) == (507, "out_of_space")
        assert api.delete(f"/v1/videos/{video}").status_code == 204
        assert api.get(f"/v1/videos/{video}").status_code == 404
        assert api.put("/v1/videos", content=b"abcdef").status_code == 201
        assert sorted(path.stat().st_size for path in files(house)) == [4, 6]


def test_a_video_that_a_job_looks_at_is_not_deleted(house: House) -> None:
    with holder(house) as api:
        job = worker.submit(api)
        answer = api.delete(f"/v1/videos/{job['video']}")
        assert refusal(answer) == (409, "conflict")
        assert job["id"] in answer.json()["detail"]
        api.post(f"/v1/jobs/{job['id']}/cancel")
        assert api.delete(f"/v1/videos/{job['video']}").status_code == 204
        assert refusal(api.delete(f"/v1/videos/{job['video']}")) == (404, "not_found")


def test_a_key_with_as_many_open_jobs_as_it_may_have_is_told_when_to_try_again(house: House) -> None:
    with holder(house, open_jobs=1) as api:
        job = worker.submit(api)
        answer = api.post("/v1/jobs", json={"video": job["video"], "pipeline": worker.PIPELINE})
        assert refusal(answer) == (429, "quota_exceeded")
        assert answer.headers["retry-after"] == "10"
        assert "1 jobs that are not over" in answer.json()["detail"]
        api.post(f"/v1/jobs/{job['id']}/cancel")
        assert worker.submit(api)["state"] == "queued"


def test_the_minutes_of_a_day_are_counted_before_and_after_a_video_is_known(house: House) -> None:
    with holder(house, video_minutes_per_day=2) as api:
        video = worker.upload(api)["id"]
        house.store.put_video(f"mine/{video}", state="ready", facts=json.dumps({"duration_seconds": 150}))
        request = {"video": video, "pipeline": worker.PIPELINE}
        answer = api.post("/v1/jobs", json=request)
        assert refusal(answer) == (429, "quota_exceeded")
        assert "0.0 are used, and this video has 2.5" in answer.json()["detail"]
        assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
        answer = api.post("/v1/jobs", json=request | {"range": {"from": 60, "to": 120}})
        assert answer.status_code == 202
        name = f"mine/{answer.json()['id']}"
        held = worker.claim(house.store, f"ingest:{name}")
        house.store.plan(
            held, name, segments=[{"kind": "frames", "queue": "cpu", "stages": []}],
            chunks=[(0, 10, 0)], frames_total=10, video=f"mine/{video}", models={}, video_seconds=60,
        )  # fmt: skip
        assert refusal(api.post("/v1/jobs", json=request | {"range": {"from": 60, "to": 121}})) == (
            429,
            "quota_exceeded",
        )
        assert api.post("/v1/jobs", json=request | {"range": {"from": 60, "to": 120}}).status_code == 202


def test_requests_beyond_the_rate_are_told_when_to_come_again(house: House) -> None:
    with holder(house, requests_per_minute=3) as api:
        assert [api.get("/v1/stages").status_code for _ in range(3)] == [200] * 3
        answer = api.get("/v1/stages")
        assert refusal(answer) == (429, "quota_exceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 20


def refused(api: httpx.Client, address: str) -> bool:
    """Whether a stream is one too many."""
    with api.stream("GET", address) as response:
        assert response.status_code in (200, 429)
        return response.status_code == 429


def test_event_streams_of_a_key_are_bounded_and_free_again_at_their_end(house: House) -> None:
    with holder(house, streams=2) as api, ExitStack() as stack:
        job = worker.submit(api)["id"]
        opened = [stack.enter_context(api.stream("GET", f"/v1/jobs/{job}/events")) for _ in range(2)]
        assert [stream.status_code for stream in opened] == [200, 200]
        answer = api.get(f"/v1/jobs/{job}/events")
        assert refusal(answer) == (429, "quota_exceeded")
        assert answer.headers["retry-after"] == "5"
        api.post(f"/v1/jobs/{job}/cancel")
        for stream in opened:
            assert b"event: done" in stream.read()
        until = time.monotonic() + 60
        while refused(api, f"/v1/jobs/{job}/events"):  # the service has yet to do what follows the end of a stream
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.fixture
def small(redis_server: RedisServer, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    """A service with one stream, on a disk that is as good as full."""
    service = Service(
        Settings(
            redis_url=redis_server.url, data_dir=tmp_path / "data", path_roots=str(tmp_path), port=0, max_streams=1,
            min_free_bytes=2**60,
        )
    )  # fmt: skip
    service.start()
    yield service
    service.stop()


def test_a_full_disk_takes_no_uploads_and_a_process_has_so_many_streams(small: Service, tmp_path: Path) -> None:
    with httpx.Client(base_url=small.url, timeout=60, trust_env=False) as api:
        for answer in (
            api.put("/v1/videos", content=b"x"), api.post("/v1/models", content=b"x", params={"name": "n"}),
        ):  # fmt: skip
            assert refusal(answer) == (507, "out_of_space")
            assert "CVPIPE_MIN_FREE_BYTES" in answer.json()["detail"]
        (tmp_path / "v.mp4").write_bytes(b"x")
        job = api.post("/v1/jobs", json={"path": str(tmp_path / "v.mp4"), "pipeline": worker.PIPELINE}).json()["id"]
        for _ in range(2):
            with api.stream("GET", f"/v1/jobs/{job}/events") as stream:
                assert stream.status_code == 200
                answer = api.get(f"/v1/jobs/{job}/events")
                assert refusal(answer) == (503, "unavailable")
                assert "CVPIPE_MAX_STREAMS" in answer.json()["detail"]
            until = time.monotonic() + 60
            while small.app.state.resources.streams.value == 0:  # the service has yet to notice that its client is gone
                assert time.monotonic() < until
                time.sleep(0.01)
