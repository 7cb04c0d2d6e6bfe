"""A dry run says what a job will take, and the job says how good that was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

PIPELINE = {"name": "p", "stages": [{"type": "edges"}, {"type": "scenes"}]}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, assets: Path) -> Iterator[Deployment]:
    """On Redis alone: the embedded broker."""
    deployment = Deployment(
        tmp_path_factory.mktemp("dry"),
        redis_url=shared_redis_url,
        broker_url=None,
        PATH_ROOTS=assets / "videos",
        DEVICE="cpu",
    )
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,cpu,finish", "--threads", "1", "--sweep")
    yield deployment
    deployment.close()


def test_a_dry_run_keeps_nothing_and_the_job_behind_it_tells_how_good_it_was(
    deployment: Deployment, assets: Path
) -> None:
    video = assets / "videos" / "one-by-one-person-detection.mp4"
    with deployment.client() as client:
        dry = client.submit(PIPELINE, path=str(video), range=(0, 60), dry_run=True)
        tried = client.wait(dry, timeout_seconds=200)
        assert (tried.state, tried.dry_run, tried.exports) == ("succeeded", True, []), deployment.logs()
        assert (list(client.frames(tried)), tried.progress.frames_done) == ([], 0)
        said = tried.prediction
        assert said is not None
        assert (said.frames, said.threads) == (600, 1)
        assert 4 <= said.frames_tried <= 600
        assert 0 < said.seconds.low < said.seconds.likely < said.seconds.high < 600
        done = client.wait(client.submit(from_job=tried), timeout_seconds=200)
        records = list(client.frames(done))
    assert (done.state, done.reused, len(records)) == ("succeeded", [], 600), deployment.logs()
    assert done.prediction == said
    assert done.outcome is not None
    size = (deployment.folder / "data" / "jobs" / "default" / done.id / "frames.ndjson").stat().st_size
    assert done.outcome.output_bytes == size
    assert size == sum(len(record.to_json()) + 1 for record in records)
    assert done.outcome.seconds > 0
    assert done.outcome.memory_bytes is not None
    assert done.outcome.memory_bytes > 50e6  # an interpreter with NumPy and OpenCV, and a decoder
    # How long it took is another matter on a busy machine; what it wrote is not.
    assert done.outcome.within["output_bytes"]
    assert done.outcome.within["memory_bytes"]
    assert set(done.outcome.within) == {"seconds", "memory_bytes", "output_bytes"}
