"""Crops through real workers on queues of their own: the same as in one process, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cvpipe import Client
from cvpipe.job import Job
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

#: Two boxes that move over the picture, one from frame 0 to 45, one from frame 20 on: known objects, and no network.
BOXES = '''
from typing import Literal

from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions


class BoxesOptions(StageOptions):
    """Options of `boxes`."""

    type: Literal["boxes"] = "boxes"


class Boxes(FrameStage[BoxesOptions]):
    """Find two boxes."""

    Options = BoxesOptions

    def process(self, frames, found):
        results = []
        for frame in frames:
            n = frame.number
            rows = [(40 + 5 * n, 60, 0.9)] * (n <= 45) + [(500 - 4 * n, 250, 0.8)] * (n >= 20)
            results.append(Found(added=Objects.make(
                stage=self.name, box=[[x, y, x + 90, y + 120 + n] for x, y, _ in rows],
                score=[score for _, _, score in rows], label=["thing"] * len(rows),
            )))
        return results
'''
#: The mean grey of each crop. Of the file `poison` it ends its process, once; while there is `broken` it raises; while
#: there is `slow` it takes half a second for each picture, and notes it there.
TONE = '''
import os
import time
from pathlib import Path
from typing import Literal

from cvpipe.results import Found
from cvpipe.stages import FrameStage, StageOptions

class ToneOptions(StageOptions):
    """Options of `tone`."""

    type: Literal["tone"] = "tone"
    of: str
    folder: str


class Tone(FrameStage[ToneOptions]):
    """Tell the mean grey of crops."""

    Options = ToneOptions
    batch = 1

    def references(self):
        return (self.options.of,)

    def process(self, frames, found):
        folder = Path(self.options.folder)
        for frame in frames:
            if (folder / "slow").exists():
                time.sleep(0.5)
                with (folder / "slow").open("a") as slow:
                    slow.write(f"{frame.number}\\n")
        if frames and frames[0].number > 20:
            if (folder / "poison").exists():
                (folder / "poison").unlink()
                os._exit(9)
            if (folder / "broken").exists():
                raise ZeroDivisionError("broken")
        return [
            Found(objects=o.with_values(self.name, {0: round(float(f.image.mean()), 3)}))
            for f, o in zip(frames, found, strict=True)
        ]
'''
VIDEO = "one-by-one-person-detection.mp4"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "cvpipe_stages").mkdir()
    (folder / "cvpipe_stages" / "boxes.py").write_text(BOXES)
    (folder / "cvpipe_stages" / "tone.py").write_text(TONE)
    return folder


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, plugins: Path, assets: Path, root: Path
) -> Iterator[Deployment]:
    """One for all tests, on Redis alone: the embedded broker. Crops have a worker of their own."""
    deployment = Deployment(
        tmp_path_factory.mktemp("crops"),
        redis_url=shared_redis_url,
        broker_url=None,
        PATH_ROOTS=assets / "videos",
        DEVICE="cpu",
    )
    deployment.env["PYTHONPATH"] = os.pathsep.join((str(root / "src"), str(root), str(plugins)))
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,cpu,sequence,finish", "--threads", "2", "--sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def worker(deployment: Deployment) -> subprocess.Popen[bytes]:
    """The worker for crops: that of the test before, if it lives."""
    last = deployment.children[-1]
    if len(deployment.children) > 2 and last.poll() is None:
        return last
    return deployment.start("worker", "--queues", "crops", "--threads", "1")


def make_pipeline(folder: Path) -> dict[str, Any]:
    return {
        "name": "p",
        "stages": [
            {"type": "boxes"},
            {"type": "track", "of": "boxes"},
            {"type": "crops", "name": "best", "of": "boxes", "best": 3, "apart_seconds": 1},
            {"type": "tone", "of": "best", "folder": str(folder)},
        ],
    }


def submit(client: Client, folder: Path, assets: Path) -> Job:
    """Six chunks of ten frames."""
    return client.submit(make_pipeline(folder), path=str(assets / "videos" / VIDEO), range=(0, 6), chunk_seconds=1)


@pytest.fixture(scope="module")
def expected(assets: Path, plugins: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `cvpipe run` on all of it as one chunk."""
    out = tmp_path_factory.mktemp("expected")
    (out / "pipeline.json").write_text(json.dumps(make_pipeline(out)))
    subprocess.run(
        [
            sys.executable, "-m", "cvpipe", "run", str(assets / "videos" / VIDEO), "--out", str(out), "--to", "6",
            "--pipeline", str(out / "pipeline.json"),
        ],
        check=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root), str(plugins)))},
    )  # fmt: skip
    return out


def check_results(deployment: Deployment, client: Client, job: Job, expected: Path) -> None:
    """What the job has found, and its files, are those of one process, but for the order of crops across chunks."""
    folder = deployment.folder / "data" / "jobs" / "default" / job.id
    assert job.exports == ["frames.ndjson", "crops.ndjson", "tracks.ndjson"]
    for name in ("frames.ndjson", "tracks.ndjson"):
        assert (folder / name).read_text() == (expected / name).read_text(), name
    lines, wanted = ((where / "crops.ndjson").read_text().splitlines() for where in (folder, expected))
    assert sorted(lines) == sorted(wanted)
    pictures, truth = (
        {path.name: path.read_bytes() for path in (where / "crops").iterdir()} for where in (folder, expected)
    )
    assert pictures == truth
    tracks = list(client.tracks(job))
    assert [track.to_json() for track in tracks] == (expected / "tracks.ndjson").read_text().splitlines()
    assert client.crop(job, tracks[0].crops[0]["file"]) == truth[tracks[0].crops[0]["file"]]


@pytest.mark.usefixtures("worker")
def test_crops_of_a_job_are_those_of_one_process(
    deployment: Deployment, tmp_path: Path, assets: Path, expected: Path
) -> None:
    first, second = (json.loads(line) for line in (expected / "tracks.ndjson").read_text().splitlines())
    assert (first["track"], first["frames"], first["first"]["frame"], first["last"]["frame"]) == (1, 46, 0, 45)
    assert (second["track"], second["label"], second["first"]["frame"]) == (2, "thing", 21)
    assert [len(track["crops"]) for track in (first, second)] == [3, 3]
    assert first["values"]["tone"]["crops"] == 3
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets), timeout_seconds=200)
        assert (job.state, job.error, job.progress.chunks_done) == ("succeeded", None, 6), deployment.logs()
        check_results(deployment, client, job, expected)


def test_a_worker_that_dies_among_the_crops_costs_nothing(
    deployment: Deployment, worker: subprocess.Popen[bytes], tmp_path: Path, assets: Path, expected: Path
) -> None:
    (tmp_path / "poison").touch()
    with deployment.client() as client:
        submitted = submit(client, tmp_path, assets)
        deployment.until(lambda: worker.poll() is not None, "the worker died")
        assert worker.returncode == 9
        assert list(client.tracks(submitted)) == []
        page = httpx.get(f"{deployment.url}/v1/jobs/{submitted.id}/frames?limit=100").json()
        assert len(page["frames"]) == 60  # the records need no crops
        deployment.start("worker", "--queues", "crops", "--threads", "1")
        job = client.wait(submitted, timeout_seconds=200)
        assert (job.state, job.error) == ("succeeded", None), deployment.logs()
        check_results(deployment, client, job, expected)


@pytest.mark.usefixtures("worker")
def test_crops_that_can_not_be_made_leave_the_records_whole_and_are_made_by_a_repair(
    deployment: Deployment, tmp_path: Path, assets: Path, expected: Path
) -> None:
    (tmp_path / "broken").touch()
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets), timeout_seconds=200)
        assert (job.state, job.progress.chunks_failed) == ("succeeded_with_gaps", 0), deployment.logs()
        assert job.error is not None
        assert "stage 'tone' failed" in job.error.message
        assert all(record.status == "ok" for record in client.frames(job))
        assert len(list(client.tracks(job))) == 2
        (tmp_path / "broken").unlink()
        client.repair(job)
        mended = client.wait(job, timeout_seconds=200)
        assert (mended.state, mended.error) == ("succeeded", None), deployment.logs()
        check_results(deployment, client, mended, expected)


@pytest.mark.usefixtures("worker")
def test_a_cancel_stops_the_work_on_crops(deployment: Deployment, tmp_path: Path, assets: Path) -> None:
    slow = tmp_path / "slow"
    slow.touch()
    pipeline = make_pipeline(tmp_path)
    pipeline["stages"][2] = {"type": "crops", "name": "best", "of": "boxes", "every": 1}
    with deployment.client() as client:
        job = client.submit(pipeline, path=str(assets / "videos" / VIDEO), range=(0, 6), chunk_seconds=6)
        deployment.until(lambda: slow.stat().st_size > 0, "a crop is looked at")
        assert client.cancel(job).state in ("canceling", "canceled")
        deployment.until(lambda: client.job(job).state == "canceled", "it is canceled", seconds=20)
        worked_on = slow.read_text()
        time.sleep(1.2)
        assert len(slow.read_text().split()) <= len(worked_on.split()) + 1 < 86  # as many as there are crops
        assert (len(list(client.frames(job))), list(client.tracks(job))) == (60, [])


def test_a_job_that_is_canceled_among_the_crops_ends_at_once(
    deployment: Deployment, tmp_path: Path, assets: Path
) -> None:
    last = deployment.children[-1]
    last.terminate()  # nobody makes crops
    last.wait(60)
    with deployment.client() as client:
        job = submit(client, tmp_path, assets)
        deployment.until(lambda: client.job(job).progress.chunks_done == 6, "all records are there")
        assert client.cancel(job).state == "canceled"
        assert len(list(client.frames(job))) == 60
