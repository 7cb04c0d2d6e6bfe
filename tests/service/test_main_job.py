"""The main job through the real service on RabbitMQ and Redis, and what must not change it."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cvpipe import FrameRecord, verify_webhook
from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings
from tests.modelcards import write_yolox_card
from tests.servers import RabbitMQServer, RedisServer
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

VIDEO = "one-by-one-person-detection.mp4"
FRAMES = 1394
PART = {"from": 0, "to": 15}
OF_PART = 150
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / VIDEO


@pytest.fixture(scope="module")
def models_dir(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_yolox_card(folder, assets)
    return folder


def run_in_one_process(
    video: Path, models_dir: Path, out: Path, *, chunks: int, stop: float | None = None
) -> list[str]:
    """`cvpipe run` in so many chunks, up to a time: the lines of frames.ndjson."""
    settings = Settings(data_dir=out, models_dir=models_dir, device="cpu")
    pipeline = load_pipeline("people", settings=settings)
    seconds = 139.4 if stop is None else stop
    part = None if stop is None else TimeRange(stop=stop)
    job = run_local(video, pipeline, out, settings=settings, range=part, chunk_seconds=seconds / chunks - 0.02)
    assert job["chunks"] == chunks
    return (out / "frames.ndjson").read_text().splitlines()


@pytest.fixture(scope="module")
def expected(video: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every record of the main job, from one process and ten chunks."""
    return run_in_one_process(video, models_dir, tmp_path_factory.mktemp("expected"), chunks=10)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, shared_rabbitmq: RabbitMQServer, models_dir: Path,
    video: Path,
) -> Iterator[Deployment]:  # fmt: skip
    """API and sweeper."""
    deployment = Deployment(
        tmp_path_factory.mktemp("main"),
        redis_url=shared_redis_url,
        broker_url=shared_rabbitmq.url,
        MODELS_DIR=models_dir,
        PATH_ROOTS=video.parent,
        DEVICE="cpu",
    )
    deployment.start_api()
    deployment.start("sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    """Workers are each test's own."""
    yield shared
    shared.close(keep=2)


class Receiver:
    """Takes webhooks on loopback."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.arrived = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((dict(self.headers.items()), body))
                self.send_response(204)
                self.end_headers()
                receiver.arrived.set()

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def as_lines(records: Iterator[FrameRecord]) -> list[str]:
    return [record.to_json() for record in records]


def test_people_are_found_where_they_are_and_followed(expected: list[str]) -> None:
    records = [json.loads(line) for line in expected]
    assert [record["frame"] for record in records] == list(range(FRAMES))
    with_person = sum(any(o["score"] >= 0.4 for o in record["objects"]) for record in records[::10])
    assert 100 <= with_person <= 108  # 104 of every tenth frame, with a square network input
    tracks = {o["track"] for record in records for o in record["objects"] if o["track"] is not None}
    assert 5 <= len(tracks) <= 40


@pytest.mark.parametrize("chunks", [1, 3])
def test_the_number_of_chunks_changes_no_record(
    video: Path, models_dir: Path, tmp_path: Path, expected: list[str], chunks: int
) -> None:
    assert run_in_one_process(video, models_dir, tmp_path, chunks=chunks, stop=15) == expected[:OF_PART]


def test_two_workers_give_the_records_of_one_process_each_once_and_a_verified_webhook(
    deployment: Deployment, video: Path, expected: list[str], receiver: Receiver
) -> None:
    deployment.worker()
    deployment.worker()
    with deployment.client() as client:
        uploaded = client.upload(video)
        job = client.submit(pipeline="people", video=uploaded.id, webhook={"url": receiver.url, "secret": SECRET})
        live = as_lines(client.frames(job.id))
        done = client.wait(job.id, timeout_seconds=200)
        assert done.state == "succeeded", deployment.logs()
        assert live == expected
        assert as_lines(client.frames(job.id)) == expected
        exported = client.download(job.id, "frames.ndjson", deployment.folder / "frames.ndjson")
        assert Path(exported).read_text().splitlines() == expected
        assert receiver.arrived.wait(60), deployment.logs()
        headers, body = receiver.got[0]
        message = verify_webhook(body, headers, SECRET)
        assert message["type"] == "job.succeeded"
        assert message["data"]["id"] == job.id
        deployment.until(lambda: client.job(job.id).deliveries, "the delivery is noted")
        assert [(d.attempt, d.status, d.delivered) for d in client.job(job.id).deliveries] == [(1, 204, True)]
    assert len(receiver.got) == 1


def test_a_killed_worker_changes_no_record(deployment: Deployment, video: Path, expected: list[str]) -> None:
    victim = deployment.worker()
    with deployment.client() as client:
        job = client.submit(pipeline="people", path=str(video), range=PART, chunk_seconds=5)
        deployment.until(lambda: client.job(job.id).progress.frames_done > 30, "the job is in the middle")
        deployment.worker()
        os.kill(victim.pid, signal.SIGKILL)
        done = client.wait(job.id, timeout_seconds=200)
        assert done.state == "succeeded", deployment.logs()
        assert as_lines(client.frames(job.id)) == expected[:OF_PART]


def test_a_restart_of_rabbitmq_in_the_middle_changes_no_record(
    deployment: Deployment, shared_rabbitmq: RabbitMQServer, video: Path, expected: list[str]
) -> None:
    deployment.worker()
    deployment.worker()
    with deployment.client() as client:
        job = client.submit(pipeline="people", path=str(video), range=PART, chunk_seconds=5)
        deployment.until(lambda: client.job(job.id).progress.frames_done > 30, "the job is in the middle")
        shared_rabbitmq.restart()
        done = client.wait(job.id, timeout_seconds=200)
        assert done.state == "succeeded", deployment.logs()
        assert as_lines(client.frames(job.id)) == expected[:OF_PART]


def test_a_killed_redis_that_comes_back_changes_no_record(
    deployment: Deployment, redis_server: RedisServer, video: Path, expected: list[str]
) -> None:
    deployment.worker()
    deployment.worker()
    with deployment.client() as client:
        job = client.submit(pipeline="people", path=str(video), range=PART, chunk_seconds=5)
        deployment.until(lambda: client.job(job.id).progress.frames_done > 30, "the job is in the middle")
        redis_server.kill()
        redis_server.start()
        done = client.wait(job.id, timeout_seconds=200)
        assert done.state == "succeeded", deployment.logs()
        assert as_lines(client.frames(job.id)) == expected[:OF_PART]


def test_a_job_posted_while_rabbitmq_is_down_is_taken_and_done_later(
    deployment: Deployment, shared_rabbitmq: RabbitMQServer, video: Path
) -> None:
    deployment.worker()
    shared_rabbitmq.stop()
    with deployment.client() as client:
        job = client.submit(pipeline="edges", path=str(video), range={"from": 0, "to": 2})
        assert job.state == "queued"
        shared_rabbitmq.start()
        done = client.wait(job.id, timeout_seconds=200)
        assert (done.state, done.progress.frames_done) == ("succeeded", 10), deployment.logs()


def test_cancel_stops_the_work(deployment: Deployment, video: Path) -> None:
    deployment.worker()
    with deployment.client() as client:
        job = client.submit(pipeline="people", path=str(video))
        deployment.until(lambda: client.job(job.id).progress.frames_done > 20, "the job runs")
        assert client.cancel(job.id).state in ("canceling", "canceled")
        deployment.until(lambda: client.job(job.id).state == "canceled", "its worker has left")
        done_frames = client.job(job.id).progress.frames_done
        quick = client.submit(pipeline="edges", path=str(video), range={"from": 0, "to": 1})
        done = client.wait(quick.id, timeout_seconds=200)
        assert done.state == "succeeded", deployment.logs()
        assert client.job(job.id).progress.frames_done == done_frames < 1394
