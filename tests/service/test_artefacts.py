"""Files that a job makes of the whole video, by real workers, one of which is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvpipe.video import Decoders
from tests.service.deployment import Deployment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PIPELINE = {
    "name": "p",
    "stages": [{"type": "decimate", "every": 10}, {"type": "normalise", "fps": 120, "max_side": 160}],
}


@pytest.fixture
def deployment(tmp_path: Path, redis_url: str, assets: Path) -> Iterator[Deployment]:
    """On Redis alone: the embedded broker."""
    deployment = Deployment(
        tmp_path, redis_url=redis_url, broker_url=None, PATH_ROOTS=assets / "videos", DEVICE="cpu", LEASE_SECONDS=1
    )
    deployment.start_api()
    deployment.start("sweep")
    yield deployment
    deployment.close()


def test_a_killed_worker_costs_a_part_of_a_normalised_video(deployment: Deployment, assets: Path) -> None:
    victim = deployment.worker()
    with deployment.client() as client:
        job = client.submit(
            PIPELINE, path=str(assets / "videos" / "one-by-one-person-detection.mp4"), range={"from": 0, "to": 20}
        )
        folder = deployment.folder / "data" / "jobs" / "default" / job.id
        parts = folder / ".finish" / "0" / "normalised.mp4.parts"
        deployment.until(lambda: len(list(parts.glob("part-*.mp4"))) >= 1, "a part is made")
        os.kill(victim.pid, signal.SIGKILL)
        assert not (folder / "normalised.mp4").exists()
        deployment.worker()
        done = client.wait(job.id, timeout_seconds=60)
        assert (done.state, done.error) == ("succeeded", None), deployment.logs()
        assert done.exports == ["frames.ndjson", "normalised.mp4", "normalised.map.ndjson"]
        assert sorted(path.name for path in folder.iterdir()) == sorted(done.exports)
        video, told = (
            Path(client.download(job.id, name, deployment.folder / name))
            for name in ("normalised.mp4", "normalised.map.ndjson")
        )
    with Decoders() as decoders:
        index = decoders.index(video)
    assert len(index) == 2400
    assert (max(index.facts.width, index.facts.height), index.facts.fps) == (160, pytest.approx(120, rel=1e-3))
    sources = [json.loads(line)["source"] for line in told.read_text().splitlines()]
    assert sources == [n // 12 for n in range(2400)]
