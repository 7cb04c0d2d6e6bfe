"""/v1/jobs/{id}/tracks and /v1/jobs/{id}/crops on a running service."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cvpipe.job import JobState
from cvpipe.store import Store
from cvpipe.tracks import TrackRecord
from tests.api import worker
from tests.api.conftest import Service

FILE = "best-f000012-o0.jpg"


def make_track(number: int) -> TrackRecord:
    crop = {"stage": "best", "file": FILE, "frame": 12, "time": 1.2, "box": [12, 1, 21, 20], "quality": 0.25}
    at = {"frame": number, "time": number / 10}
    said = {"text": "KA 4729", "confidence": 0.9, "votes": 1, "crops": 1, "evidence": [FILE]}
    return TrackRecord("people", number, "person", 0.5, 3, at, at, {"read_text": said}, (crop,))


@pytest.fixture
def job(api: httpx.Client, store: Store, service: Service) -> str:
    """A job with three tracks, and one crop."""
    job = str(worker.submit(api)["id"])
    segments = [{"kind": kind, "queue": "cpu", "stages": []} for kind in ("frames", "picks", "crops", "tracks")]
    name = worker.named(job)
    store.plan(
        worker.claim(store, f"ingest:{name}"), name, segments=segments, chunks=[(0, 10, 0)], frames_total=10,
        video=worker.named("0" * 64), models={},
    )  # fmt: skip
    worker.work_chunk(store, job, 0)
    store.finish_chunk(worker.claim(store, f"chunk:{name}:1:0"), name, 1, 0)
    held = worker.claim(store, f"chunk:{name}:3:0")
    store.append_tracks(held, name, 0, [make_track(n) for n in (1, 2, 3)], lease_seconds=30)
    folder = service.settings.data_dir / "jobs" / name / "crops"
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"\xff\xd8 a picture")
    (folder / "secret.txt").write_text("no")
    store.finish_chunk(held, name, 3, 0)
    return job


def end(store: Store, job: str) -> None:
    name = worker.named(job)
    store.end_job(worker.claim(store, f"finish:{name}"), name, JobState.succeeded, error=None, exports=[])


def test_tracks_come_by_pages_and_say_when_they_are_all(api: httpx.Client, store: Store, job: str) -> None:
    rows: list[dict[str, Any]] = []
    page = api.get(f"/v1/jobs/{job}/tracks?limit=2").json()
    assert (page["next"], page["complete"]) == ("2", False)
    rows += page["tracks"]
    page = api.get(f"/v1/jobs/{job}/tracks?limit=2&cursor=2").json()
    assert (page["next"], page["complete"]) == ("3", False)  # the job is not over
    end(store, job)
    page = api.get(f"/v1/jobs/{job}/tracks?limit=2&cursor=2").json()
    assert (page["next"], page["complete"]) == (None, True)
    assert rows + page["tracks"] == [make_track(n).to_dict() for n in (1, 2, 3)]


def test_tracks_come_as_lines(api: httpx.Client, job: str) -> None:
    answer = api.get(f"/v1/jobs/{job}/tracks", headers={"accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["cvpipe-complete"] == "false"
    assert [json.loads(line)["track"] for line in answer.text.splitlines()] == [1, 2, 3]
    two = api.get(f"/v1/jobs/{job}/tracks?limit=2", headers={"accept": "application/x-ndjson"})
    assert len(two.text.splitlines()) == 2
    assert api.get(f"/v1/jobs/{job}/tracks", headers={"accept": "text/csv"}).status_code == 406


def test_a_crop_is_a_jpeg_that_a_page_can_show(api: httpx.Client, job: str) -> None:
    answer = api.get(f"/v1/jobs/{job}/crops/{FILE}")
    assert (answer.content, answer.headers["content-type"]) == (b"\xff\xd8 a picture", "image/jpeg")
    assert answer.headers["content-disposition"].startswith("inline")


@pytest.mark.parametrize(
    ("name", "status"),
    [("best-f000099-o0.jpg", 404), ("secret.txt", 422), ("..%2Ffinish.json", 404), ("%2e%2e", 422)],
)
def test_nothing_but_crops_is_there(api: httpx.Client, job: str, name: str, status: int) -> None:
    assert api.get(f"/v1/jobs/{job}/crops/{name}").status_code == status


def test_a_job_that_is_not_there_has_neither(api: httpx.Client) -> None:
    for path in ("tracks", f"crops/{FILE}"):
        answer = api.get(f"/v1/jobs/nothing/{path}")
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (404, "not_found")
