"""Files that a job makes of the whole video, by real workers, one of which is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from cvpipe.video import Decoders
from tests.service.deployment import Deployment
from tests.video.reading import read

pytestmark = pytest.mark.slow

PIPELINE = {
    "name": "p",
    "stages": [{"type": "decimate", "every": 10}, {"type": "normalise", "fps": 120, "max_side": 160}],
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, assets: Path) -> Iterator[Deployment]:
    """API and sweeper, on Redis alone: the embedded broker."""
    folder = tmp_path_factory.mktemp("artefacts")
    deployment = Deployment(
        folder, redis_url=shared_redis_url, broker_url=None, PATH_ROOTS=assets / "videos", DEVICE="cpu"
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
        done = client.wait(job.id, timeout_seconds=200)
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


#: Of a parking lot from above; the camera is made up, the ground is flat.
GROUND = [
    {"pixel": [0, 432], "world": [0, 0]}, {"pixel": [768, 432], "world": [40, 0]},
    {"pixel": [768, 0], "world": [40, 25]}, {"pixel": [0, 0], "world": [0, 25]},
]  # fmt: skip
ALL = {
    "name": "all",
    "stages": [
        {"type": "decimate", "every": 4},
        {"type": "motion", "learn": 5, "min_area": 400},
        {"type": "track", "of": "motion"},
        {"type": "to_world", "of": "motion", "camera": {"width": 768, "height": 432, "points": GROUND}},
        {"type": "redact", "of": ["motion"]},
        {"type": "dataset", "every_seconds": 1},
        {"type": "summarise", "of": ["motion"], "highlights": 1, "highlight_seconds": 1},
        {"type": "top_view"},
    ],
}
SPAN = {"from": 0, "to": 6}


def test_a_killed_worker_changes_no_file_of_the_whole_video(deployment: Deployment, assets: Path) -> None:
    """A blurred copy, a data set, a summary and the picture from above: those of one process."""
    video = assets / "videos" / "car-detection.mp4"
    expected = deployment.folder / "expected"
    run_local(
        video, parse_pipeline(ALL), expected, settings=Settings(data_dir=deployment.folder, device="cpu", threads=2),
        range=TimeRange(start=0, stop=6), chunk_seconds=2,
    )  # fmt: skip
    victim = deployment.worker()
    with deployment.client() as client:
        job = client.submit(ALL, path=str(video), range=SPAN, chunk_seconds=2)
        folder = deployment.folder / "data" / "jobs" / "default" / job.id
        note = folder / ".finish" / "0" / "made.json"
        deployment.until(lambda: note.exists() and "redacted.mp4" in note.read_text(), "the copy is begun")
        os.kill(victim.pid, signal.SIGKILL)
        assert not (folder / "top-view.svg").exists()
        deployment.worker()
        done = client.wait(job.id, timeout_seconds=200)
        assert (done.state, done.error, done.exports_failed) == ("succeeded", None, {}), deployment.logs()
        assert set(done.exports) == {path.name for path in expected.iterdir()} - {"job.json"}
        made = [name for name in done.exports if not name.endswith(".mp4")]
        assert {"dataset.zip", "keyframes.zip", "summary.json", "condensed.map.ndjson", "top-view.png"} < set(made)
        for name in done.exports:
            client.download(job.id, name, deployment.folder / name)
    for name in made:
        assert (deployment.folder / name).read_bytes() == (expected / name).read_bytes(), name
    with Decoders() as decoders:
        for name in ("redacted.mp4", "condensed.mp4", "highlights.mp4"):
            index, other = (decoders.index(place / name) for place in (deployment.folder, expected))
            assert index.times.tolist() == other.times.tolist()
            shown, wanted = (
                read(decoders, place / name, known, numbers=[0, len(known) // 2, len(known) - 1])
                for place, known in ((deployment.folder, index), (expected, other))
            )
            for number, image in shown.items():
                assert image is not None
                assert np.abs(image.astype(int) - wanted[number]).mean() < 2  # parts are encoded by themselves
