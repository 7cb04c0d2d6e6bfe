"""A drawn match through real workers: a camera of the service, tracks, places and the picture from above."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cvpipe.engine import run_local
from cvpipe.settings import Settings
from tests import matches
from tests.service.deployment import Deployment
from tests.test_sports_top_view import pipeline

pytestmark = pytest.mark.slow


@pytest.fixture
def deployment(tmp_path: Path, redis_url: str) -> Iterator[Deployment]:
    """On Redis alone: the embedded broker."""
    deployment = Deployment(tmp_path, redis_url=redis_url, broker_url=None, DEVICE="cpu")
    deployment.start_api()
    deployment.worker()
    yield deployment
    deployment.close()


def test_workers_say_what_one_process_says(deployment: Deployment, tmp_path: Path) -> None:
    clip = matches.make_match(tmp_path / "match.mp4", frames=12)
    settings = Settings(data_dir=tmp_path / "here")
    spec = pipeline(settings)
    run_local(clip, spec, tmp_path / "out", settings=settings)
    stages = spec.model_dump(mode="json")["stages"]
    unnamed = [{key: value for key, value in stage.items() if key != "camera"} for stage in stages]
    with deployment.client() as client:
        camera = client.add_camera(matches.camera())
        assert (camera.state, camera.reprojection and camera.reprojection.rms < 1) == ("ready", True)
        job = client.submit(
            {"name": "match", "stages": unnamed}, video=client.upload(clip), camera="main-stand", chunk_seconds=1
        )
        client.remove_camera("main-stand")  # the job has begun with it
        done = client.wait(job.id, timeout_seconds=200)
        assert (done.state, done.error) == ("succeeded", None), deployment.logs()
        assert done.exports == ["frames.ndjson", "tracks.ndjson", "top-view.svg", "top-view.png"]
        for name in done.exports:
            made = Path(client.download(job.id, name, tmp_path / f"service-{name}"))
            assert made.read_bytes() == (tmp_path / "out" / name).read_bytes(), name
