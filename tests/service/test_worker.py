"""A real worker: its sign of life, and the largest file that it opens."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

ALLOWED = 100_000
EDGES = {"name": "p", "stages": [{"type": "edges"}]}


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    path = assets / "videos" / "one-by-one-person-detection.mp4"
    assert path.stat().st_size > ALLOWED
    return path


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, video: Path) -> Iterator[Deployment]:
    """On Redis alone: the embedded broker."""
    deployment = Deployment(
        tmp_path_factory.mktemp("worker"),
        redis_url=shared_redis_url,
        broker_url=None,
        PATH_ROOTS=video.parent,
        DEVICE="cpu",
        MAX_FILE_BYTES=ALLOWED,
    )
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,cpu,finish", "--threads", "1", "--sweep")
    yield deployment
    deployment.close()


def workers(deployment: Deployment) -> list[dict[str, Any]]:
    """What /healthz says of workers that serve the queue `media`."""
    found = httpx.get(f"{deployment.url}/healthz", timeout=60).json()["workers"] or []
    return [worker for worker in found if "media" in worker["queues"]]


def test_a_worker_is_told_of_while_it_lives_and_no_longer(deployment: Deployment) -> None:
    assert workers(deployment) == []
    worker = deployment.start("worker", "--queues", "media,cpu", "--threads", "1")
    deployment.until(lambda: workers(deployment), "the worker has given a sign of life")
    (told,) = workers(deployment)
    assert told["name"].endswith(f":{worker.pid}")
    assert sorted(told["queues"]) == ["cpu", "media"]
    deployment.until(lambda: workers(deployment)[0]["protection"], "its decoders are told of")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, deployment.logs()
    assert workers(deployment) == []


def test_a_file_over_the_limit_is_refused_whether_uploaded_or_named(deployment: Deployment, video: Path) -> None:
    size = video.stat().st_size
    words = f"the file has {size} bytes, {ALLOWED} are allowed; CVPIPE_MAX_FILE_BYTES allows more"
    with deployment.client() as client:
        uploaded = client.upload(video)
        address = f"{deployment.url}/v1/videos/{uploaded.id}"
        deployment.until(lambda: httpx.get(address).json()["state"] == "failed", "the upload is refused")
        assert httpx.get(address).json()["error"] == {"code": "too_large", "message": words}
        picture = httpx.get(f"{address}/thumbnail.jpg", timeout=100)
        assert (picture.status_code, picture.json()["type"]) == (413, "/problems/too_large")
        jobs = [client.submit(EDGES, path=str(video)), client.submit(EDGES, video=uploaded.id)]
        done = [client.wait(job, timeout_seconds=200) for job in jobs]
    for job in done:
        assert job.state == "failed", deployment.logs()
        assert job.error is not None
        assert (job.error.code, job.error.message) == ("too_large", words)
