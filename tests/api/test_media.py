"""Pictures and clips of /v1/videos/{id} on a running service, and repair; the worker is played by the test."""

from __future__ import annotations

import json

import httpx
import pytest

from cvpipe.job import JobError, JobState
from cvpipe.media import damage_path, media_path, media_task
from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service

NAME = "frame-12.jpg"


@pytest.fixture
def video(api: httpx.Client, store: Store) -> str:
    """A video of 20 frames, as the store knows it."""
    video = str(worker.upload(api)["id"])
    store.drop(worker.claim(store, f"probe:{worker.named(video)}"))
    store.put_video(worker.named(video), state="ready", facts=json.dumps({"frames": 20}))
    return video


def make(settings: Settings, video: str, name: str = NAME, content: bytes = b"0123456789") -> None:
    path = media_path(settings.data_dir, worker.named(video), name)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_a_picture_that_is_made_is_handed_out_for_good(api: httpx.Client, settings: Settings, video: str) -> None:
    make(settings, video)
    address = f"/v1/videos/{video}/frames/12.jpg"
    response = api.get(address)
    assert (response.status_code, response.content) == (200, b"0123456789")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert response.headers["content-disposition"] == f'inline; filename="{video[:12]}-{NAME}"'
    tag = response.headers["etag"]
    for named in (tag, f'"other", W/{tag}', "*"):
        again = api.get(address, headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def damage(settings: Settings, video: str, name: str, **what: object) -> None:
    known = {"frames": 0, "first": None, "warnings": [], **what}
    damage_path(media_path(settings.data_dir, worker.named(video), name)).write_text(json.dumps(known))


TOLD = ("cvpipe-damaged-frames", "cvpipe-first-damaged-frame", "cvpipe-warnings")


@pytest.mark.parametrize(
    ("known", "told"),
    [
        pytest.param({}, ["0", None, None], id="all whole"),
        pytest.param({"frames": 3, "first": 0}, ["3", "0", None], id="damaged frames"),
        pytest.param({"warnings": ["media_truncated"]}, ["0", None, "media_truncated"], id="of a file that is cut off"),
    ],
)
@pytest.mark.parametrize(
    ("rest", "name"),
    [("clip?from=1&to=2", "clip-1000000-2000000.mp4"), ("sheet.jpg?columns=3&rows=2&width=600", "sheet-3x2-w600.jpg")],
)
def test_a_file_comes_with_what_is_not_right_with_it(  # type: ignore[no-untyped-def]
    known, told, rest, name, api: httpx.Client, settings: Settings, video: str
) -> None:
    make(settings, video, name)
    damage(settings, video, name, **known)
    for headers in ({}, {"Range": "bytes=2-4"}):
        response = api.get(f"/v1/videos/{video}/{rest}", headers=headers)
        assert response.status_code == (206 if headers else 200)
        assert [response.headers.get(header) for header in TOLD] == told


def test_a_clip_of_which_is_not_known_what_is_not_right_is_made_anew(
    api: httpx.Client, settings: Settings, store: Store, video: str
) -> None:
    name = "clip-0-end.mp4"
    make(settings, video, name)
    task = media_task(worker.named(video), name)
    store.put_task(task, queue="media")
    store.refuse(worker.claim(store, task), JobError(code="media_unreadable", message="it is gone"))
    assert api.get(f"/v1/videos/{video}/clip").json()["detail"] == "it is gone"


def test_a_picture_that_nobody_makes_is_asked_for_again(settings: Settings, store: Store, video: str) -> None:
    service = Service(settings.model_copy(update={"media_wait_seconds": 0.2}))
    service.start()
    try:
        response = httpx.get(f"{service.url}/v1/videos/{video}/frames/12.jpg")
    finally:
        service.stop()
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert "a worker that serves the queue `media`" in response.json()["detail"]
    assert int(response.headers["retry-after"]) > 0
    assert store.is_open(media_task(worker.named(video), NAME)) == (True, None)


def test_what_cannot_be_made_is_told_and_not_tried_again_for_a_minute(
    api: httpx.Client, store: Store, video: str, settings: Settings
) -> None:
    task = media_task(worker.named(video), NAME)
    store.put_task(task, queue="media")
    store.refuse(worker.claim(store, task), JobError(code="frame_damaged", message="frame 12 can't be decoded"))
    for _ in range(2):
        response = api.get(f"/v1/videos/{video}/frames/12.jpg")
        assert (response.status_code, response.json()["type"]) == (422, "/problems/frame_damaged")
        assert response.json()["detail"] == "frame 12 can't be decoded"
    assert store.is_open(task)[0] is False
    make(settings, video)
    assert api.get(f"/v1/videos/{video}/frames/12.jpg").status_code == 200


@pytest.mark.parametrize(
    ("rest", "status", "words"),
    [
        pytest.param("frames/20.jpg", 404, "no frame 20: the video has 20 frames, 0 to 19", id="frame behind the last"),
        pytest.param("frames/12.gif", 422, "jpg", id="format"),
        pytest.param("frames/12.jpg?width=8", 422, "16", id="width"),
        pytest.param("clip?from=3&to=3", 422, "`to` greater than `from`", id="empty clip"),
        pytest.param("sheet.jpg?columns=0", 422, "1", id="sheet without columns"),
    ],
)
def test_what_is_not_there_is_told(api: httpx.Client, video: str, rest: str, status: int, words: str) -> None:
    response = api.get(f"/v1/videos/{video}/{rest}")
    assert response.status_code == status
    assert words in response.text


def test_a_video_that_failed_says_why_instead_of_a_picture(api: httpx.Client, store: Store, video: str) -> None:
    error = JobError(code="no_video_stream", message="it has only sound")
    store.put_video(worker.named(video), state="failed", error=error.model_dump_json())
    for rest in ("thumbnail.jpg", "index"):
        response = api.get(f"/v1/videos/{video}/{rest}")
        assert (response.json()["type"], response.json()["detail"]) == ("/problems/no_video_stream", error.message)


def test_only_a_job_that_ended_with_gaps_is_repaired(api: httpx.Client, store: Store) -> None:
    job = str(worker.submit(api)["id"])
    answers = [api.post(f"/v1/jobs/{job}/repair")]
    worker.plan(store, job)
    held = worker.claim(store, f"chunk:{worker.named(job)}:0:0")
    answers.append(api.post(f"/v1/jobs/{job}/repair"))
    worker.append(store, held, job, 0, range(10))
    store.finish_chunk(held, worker.named(job), 0, 0)
    worker.finish(store, job)
    answers.append(api.post(f"/v1/jobs/{job}/repair"))
    for answer, state in zip(answers, (JobState.queued, JobState.running, JobState.succeeded), strict=True):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
        assert f"the job is {state}; only a job that ended with gaps can be repaired" in answer.json()["detail"]
    assert api.post("/v1/jobs/nope/repair").status_code == 404
