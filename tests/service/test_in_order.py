"""Stages that remember all frames, cut into chunks, by real workers: the records of one process that sees all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from tests.servers import RabbitMQServer
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

PIPELINE = {
    "name": "p",
    "stages": [
        {"type": "resize", "max_side": 192},
        {"type": "edges", "maps": {"every_seconds": 4}},
        {"type": "motion", "learn": 10, "min_area": 200, "maps": {"every_seconds": 5}},
        {"type": "quality"},
        {"type": "track", "of": "motion"},
    ],
}
STOP = 9.6
FRAMES = 120


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / "car-detection.mp4"


def run_in_one_process(video: Path, out: Path, chunk_seconds: float) -> list[str]:
    settings = Settings(data_dir=out, device="cpu", threads=2)
    part = TimeRange(stop=STOP)
    job = run_local(video, parse_pipeline(PIPELINE), out, settings=settings, range=part, chunk_seconds=chunk_seconds)
    assert (job["chunks"] == 1) == (chunk_seconds > STOP)
    return (out / "frames.ndjson").read_text().splitlines()


@pytest.fixture(scope="module")
def folder(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes that runs one chunk."""
    out = tmp_path_factory.mktemp("expected")
    run_in_one_process(video, out, 100)
    return out


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[str]:
    """All records, from one process and one chunk."""
    return (folder / "frames.ndjson").read_text().splitlines()


def maps_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_chunks_in_one_process_give_what_one_chunk_gives(
    video: Path, folder: Path, tmp_path: Path, expected: list[str]
) -> None:
    assert len(expected) == FRAMES
    assert sum('"stage":"motion"' in line for line in expected) > 20
    assert run_in_one_process(video, tmp_path, 2) == expected
    assert maps_of(tmp_path) == maps_of(folder)
    assert sorted(maps_of(folder)) == [
        "edges-000000.png", "edges-000050.png", "edges-000100.png", "motion-000000.png", "motion-000063.png",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, shared_rabbitmq: RabbitMQServer, video: Path
) -> Iterator[Deployment]:
    """API and sweeper."""
    folder = tmp_path_factory.mktemp("in-order")
    deployment = Deployment(
        folder, redis_url=shared_redis_url, broker_url=shared_rabbitmq.url, PATH_ROOTS=video.parent, DEVICE="cpu"
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


def test_chunks_by_two_workers_of_which_one_is_killed_give_what_one_chunk_gives(
    deployment: Deployment, video: Path, folder: Path, expected: list[str]
) -> None:
    victim = deployment.worker()
    with deployment.client() as client:
        job = client.submit(PIPELINE, path=str(video), range={"from": 0, "to": STOP}, chunk_seconds=2)
        made = deployment.folder / "data" / "jobs" / "default" / job.id
        memory = made / ".memory" / "0"
        deployment.until(lambda: list(memory.glob("1-1-*.npz")), "two chunks have left what they know")
        os.kill(victim.pid, signal.SIGKILL)
        deployment.worker()
        deployment.worker()
        done = client.wait(job.id, timeout_seconds=200)
        assert (done.state, done.error) == ("succeeded", None), deployment.logs()
        assert [record.to_json() for record in client.frames(job.id)] == expected
        assert maps_of(made) == maps_of(folder)
        assert not (made / ".memory").exists()
        assert sorted(done.exports) == sorted(path.name for path in made.iterdir() if path.name[0] != ".")
        saved = Path(client.download(job.id, "motion-000063.png", deployment.folder / "background.png"))
        assert saved.read_bytes() == (folder / "motion-000063.png").read_bytes()


def test_what_a_canceled_job_knows_is_removed(deployment: Deployment, video: Path) -> None:
    deployment.worker()
    with deployment.client() as client:
        job = client.submit(PIPELINE, path=str(video), chunk_seconds=2)
        folder = deployment.folder / "data" / "jobs" / "default" / job.id / ".memory"
        deployment.until(lambda: list(folder.glob("0/*.npz")), "a chunk has left what it knows")
        client.cancel(job.id)
        deployment.until(lambda: not folder.exists(), "it is removed")
