"""The clients against the real API on a real server, store and sockets; a stand-in does the workers' part."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import cvpipe
from cvpipe.errors import ApiError
from cvpipe.job import JobState, Progress
from cvpipe.store import Store
from tests.api import worker
from tests.client.conftest import OneClient
from tests.client.network import Proxy
from tests.client.server import Service

ConnectTo = Callable[[str], OneClient]


@contextmanager
def at_work(task: Callable[..., Any], *args: Any) -> Iterator[None]:
    """Have `task` done beside the test; what it raises fails the test."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            task(*args)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(100)
    assert not thread.is_alive()
    assert failures == []


def submitted(url: str, tmp_path: Path, **changes: Any) -> cvpipe.Job:
    video = tmp_path / "street.mp4"
    video.write_bytes(b"a video")
    with cvpipe.Client(url) as client:
        return client.submit(worker.PIPELINE, video=client.upload(video), **changes)


def work_slowly(store: Store, job: str, chunks: int, after: threading.Event | None = None) -> None:
    """The whole job, a chunk at a time, each in two parts. after: when to begin."""
    assert after is None or after.wait(60)
    worker.plan(store, job, chunks=chunks)
    for chunk in range(chunks):
        held = worker.claim(store, f"chunk:{worker.named(job)}:0:{chunk}")
        first = worker.CHUNK_FRAMES * chunk
        worker.append(store, held, job, chunk, range(first, first + 4))
        time.sleep(0.03)
        worker.append(store, held, job, chunk, range(first + 4, first + worker.CHUNK_FRAMES))
        store.finish_chunk(held, worker.named(job), 0, chunk)
    worker.finish(store, job)


def test_a_job_from_upload_to_download(connect_to: ConnectTo, service: Service, store: Store, tmp_path: Path) -> None:
    client = connect_to(service.url)
    file = tmp_path / "späte Straße.mp4"
    file.write_bytes(os.urandom(400_000))
    video = client.upload(file)
    assert client.video(video) == video
    assert (video.size, video.state, video.filename) == (400_000, "indexing", "späte Straße.mp4")
    job = client.submit(
        worker.PIPELINE, video=video, range=(0, 9), priority=7, labels={"camera": "3"}, annotate=True, chunk_seconds=1
    )
    assert (job.state, job.priority, job.labels, job.video) == (JobState.queued, 7, {"camera": "3"}, video.id)
    assert client.job(job) == job
    worker.plan(store, job.id, chunks=2)
    worker.work_chunk(store, job.id, 0)
    worker.work_chunk(store, job.id, 1)
    worker.finish(store, job.id, folder=service.settings.data_dir, exports={"annotated.mp4": b"moving pictures"})
    done = client.wait(job, timeout_seconds=60)
    assert (done.state, done.exports) == (JobState.succeeded, ["annotated.mp4"])
    assert client.frames(job) == [worker.make_record(number) for number in range(20)]
    assert client.frames(job, start=0.5, stop=1.2) == [worker.make_record(number) for number in range(5, 12)]
    assert client.download(job, "annotated.mp4", tmp_path).read_bytes() == b"moving pictures"
    client.delete(job)
    with pytest.raises(ApiError) as caught:
        client.job(job)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_records_are_followed_while_they_are_made(
    connect_to: ConnectTo, service: Service, store: Store, tmp_path: Path
) -> None:
    job = submitted(service.url, tmp_path)
    with at_work(work_slowly, store, job.id, 5):
        assert connect_to(service.url).frames(job) == [worker.make_record(number) for number in range(50)]


def test_a_running_job_is_followed_by_its_stream_not_by_asking_again(
    service: Service, store: Store, tmp_path: Path
) -> None:
    job = submitted(service.url, tmp_path)
    asked: list[tuple[str, int]] = []
    is_followed = threading.Event()

    class Recorder(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            asked.append((request.url.path.rpartition("/")[2], response.status_code))
            if asked[-1][0] == "events":
                is_followed.set()
            return response

    with cvpipe.Client(service.url, transport=Recorder()) as client:
        with at_work(work_slowly, store, job.id, 5, is_followed):
            assert len(list(client.frames(job))) == 50
        assert asked == [("frames", 200), ("events", 200), ("frames", 200)]
        asked.clear()
        is_followed.clear()
        with at_work(work_slowly, store, (again := submitted(service.url, tmp_path)).id, 2, is_followed):
            client.wait(again)
        assert asked == [(again.id, 200), ("events", 200)]


def test_a_record_is_there_long_before_the_job_ends(service: Service, store: Store, tmp_path: Path) -> None:
    job = submitted(service.url, tmp_path)
    with cvpipe.Client(service.url) as client:
        records = client.frames(job)
        with at_work(worker.plan, store, job.id):
            pass
        held = worker.claim(store, f"chunk:{worker.named(job.id)}:0:0")
        worker.append(store, held, job.id, 0, range(4))
        assert [next(records).frame for _ in range(4)] == [0, 1, 2, 3]
        assert client.job(job).state is JobState.running
        records.close()


def test_wait_hears_of_progress_and_of_the_end(
    connect_to: ConnectTo, service: Service, store: Store, tmp_path: Path
) -> None:
    job = submitted(service.url, tmp_path)
    reports: list[Progress] = []
    is_followed = threading.Event()

    def note(progress: Progress) -> None:
        reports.append(progress)
        is_followed.set()

    with at_work(work_slowly, store, job.id, 5, is_followed):
        done = connect_to(service.url).wait(job, on_progress=note)
    assert done.state is JobState.succeeded
    assert (done.progress.frames_done, done.progress.frames_total) == (50, 50)
    counts = [report.frames_done for report in reports]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 50


def test_cancelling_ends_what_waits_and_what_follows(
    connect_to: ConnectTo, service: Service, store: Store, tmp_path: Path
) -> None:
    job = submitted(service.url, tmp_path)
    worker.plan(store, job.id, chunks=3)
    worker.work_chunk(store, job.id, 0)

    def cancel() -> None:
        time.sleep(0.2)
        with cvpipe.Client(service.url) as client:
            assert client.cancel(job).state is JobState.canceled
            assert client.cancel(job).state is JobState.canceled

    client = connect_to(service.url)
    with at_work(cancel):
        assert len(client.frames(job)) == 10
    assert client.wait(job).state is JobState.canceled


@pytest.mark.parametrize("budget", [300, 2500, 6000])
def test_connections_that_break_again_and_again_lose_and_double_nothing(
    connect_to: ConnectTo, service: Service, store: Store, tmp_path: Path, budget: int
) -> None:
    job = submitted(service.url, tmp_path)
    budgets = itertools.chain([4000, budget, 5000, budget, 200, budget], itertools.repeat(None))
    with Proxy(service.url, budgets) as proxy, at_work(work_slowly, store, job.id, 12):
        assert connect_to(proxy.url).frames(job) == [worker.make_record(number) for number in range(120)]
        assert proxy.cut >= 3


def test_a_service_that_restarts_is_followed_on(
    connect_to: ConnectTo, service: Service, store: Store, tmp_path: Path
) -> None:
    job = submitted(service.url, tmp_path)
    restarts = []

    def work_and_restart() -> None:
        worker.plan(store, job.id, chunks=3)
        worker.work_chunk(store, job.id, 0)
        time.sleep(0.2)
        service.restart()
        restarts.append(True)
        worker.work_chunk(store, job.id, 1)
        worker.work_chunk(store, job.id, 2)
        worker.finish(store, job.id)

    with at_work(work_and_restart):
        assert connect_to(service.url).frames(job) == [worker.make_record(number) for number in range(30)]
    assert restarts == [True]


def test_a_submit_whose_answer_is_lost_makes_one_job(connect_to: ConnectTo, service: Service, tmp_path: Path) -> None:
    video = tmp_path / "street.mp4"
    video.write_bytes(b"a video")
    with cvpipe.Client(service.url) as direct:
        uploaded = direct.upload(video)
        with Proxy(service.url, itertools.chain([10], itertools.repeat(None))) as proxy:
            job = connect_to(proxy.url).submit(worker.PIPELINE, video=uploaded)
            assert proxy.cut == 1
        assert [found.id for found in direct.jobs()] == [job.id]


def test_a_key_of_your_own_makes_two_submits_one_job(connect_to: ConnectTo, service: Service, tmp_path: Path) -> None:
    first = submitted(service.url, tmp_path, idempotency_key="door-1")
    again = connect_to(service.url).submit(worker.PIPELINE, video=first.video, idempotency_key="door-1")
    assert again.id == first.id
    with pytest.raises(ApiError) as caught:
        connect_to(service.url).submit(worker.PIPELINE, video=first.video, priority=9, idempotency_key="door-1")
    assert caught.value.code == "conflict"


def test_jobs_are_listed_the_newest_first_over_many_pages(
    connect_to: ConnectTo, service: Service, tmp_path: Path
) -> None:
    with cvpipe.Client(service.url) as direct:
        first = submitted(service.url, tmp_path, labels={"n": "0"})
        made = [direct.submit(worker.PIPELINE, video=first.video, labels={"n": str(n % 2)}).id for n in range(119)]
    client = connect_to(service.url)
    assert [job.id for job in client.jobs()] == [*reversed(made), first.id]
    assert len(client.jobs(label="n=0")) == 61
    assert client.jobs(state=JobState.running) == []


def test_a_pipeline_that_is_wrong_names_the_place(connect_to: ConnectTo, service: Service) -> None:
    wrong = {"name": "mine", "stages": [{"type": "decimate", "fps": -1}]}
    with pytest.raises(ApiError, match=r"^stage 1 \(decimate\): fps must be greater than 0; got -1$") as caught:
        connect_to(service.url).submit(wrong, video="0" * 64)
    assert (caught.value.code, caught.value.field) == ("invalid_pipeline", "pipeline.stages.0.fps")


@pytest.mark.parametrize("size", [3_000_001, 60_000_000], ids=["just over the limit", "far over it"])
def test_a_file_that_is_too_large_is_refused_with_that_reason(
    connect_to: ConnectTo, service: Service, tmp_path: Path, size: int
) -> None:
    file = tmp_path / "long.mp4"
    with file.open("wb") as writable:
        writable.truncate(size)
    with pytest.raises(ApiError) as caught:
        connect_to(service.url).upload(file)
    assert (caught.value.status, caught.value.code) == (413, "too_large")


def test_what_the_service_has_can_be_listed(connect_to: ConnectTo, service: Service) -> None:
    client = connect_to(service.url)
    assert "decimate" in [stage["type"] for stage in client.stages()]
    assert all("stages" in pipeline for pipeline in client.pipelines())
    assert [model["name"] for model in client.models()] == ["drawn-street"]  # the one that comes with cvpipe
