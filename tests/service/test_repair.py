"""Repair: only what has no results is looked at again, by real workers, whatever becomes of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cvpipe import Client
from cvpipe.job import Job
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

MOTION = {"type": "motion", "learn": 3, "min_area": 100}
TRACK = {"type": "track"}
EDGES = {"type": "edges"}

#: Raises at frame 25 as long as there is no file `mended`; the file `poison` has it end its process at frame 27, once.
FLAKY = '''
import os
from pathlib import Path
from typing import Literal

from cvpipe.results import Found
from cvpipe.stages import FrameStage, StageOptions


class FlakyOptions(StageOptions):
    """Options of `flaky`."""

    type: Literal["flaky"] = "flaky"
    folder: str


class Flaky(FrameStage[FlakyOptions]):
    """Note what was seen, and fail as the folder says."""

    Options = FlakyOptions

    def process(self, frames, found):
        folder = Path(self.options.folder)
        numbers = {frame.number for frame in frames}
        with (folder / "seen").open("a") as seen:
            seen.writelines(f"{number}\\n" for number in sorted(numbers))
        if 27 in numbers and (folder / "poison").exists():
            (folder / "poison").unlink()
            os._exit(9)
        if 25 in numbers and not (folder / "mended").exists():
            raise ZeroDivisionError("flaky")
        return [Found(values={self.name: frame.number}) for frame in frames]
'''


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, assets: Path, root: Path
) -> Iterator[Deployment]:
    """One for all tests, on Redis alone: the embedded broker. Each job's stage looks into the folder of its test."""
    folder = tmp_path_factory.mktemp("repair")
    (folder / "cvpipe_stages").mkdir()
    (folder / "cvpipe_stages" / "flaky.py").write_text(FLAKY)
    deployment = Deployment(
        folder,
        redis_url=shared_redis_url,
        broker_url=None,
        PATH_ROOTS=assets / "videos",
        DEVICE="cpu",
    )
    deployment.env["PYTHONPATH"] = os.pathsep.join((str(root / "src"), str(root), str(folder)))
    deployment.start_api()
    yield deployment
    deployment.close()


@pytest.fixture
def worker(deployment: Deployment) -> subprocess.Popen[bytes]:
    """A worker that sweeps too: that of the test before, if it lives."""
    if deployment.children[-1].poll() is None and len(deployment.children) > 1:
        return deployment.children[-1]
    return start_worker(deployment)


def start_worker(deployment: Deployment) -> subprocess.Popen[bytes]:
    return deployment.start("worker", "--queues", "ingest,cpu,sequence,finish", "--threads", "1", "--sweep")


def submit(client: Client, folder: Path, assets: Path, *tail: dict[str, Any]) -> Job:
    """Five chunks of ten frames; the third has frame 25."""
    stages = [{"type": "flaky", "folder": str(folder)}, *tail]
    return client.submit(
        {"name": "p", "stages": stages},
        path=str(assets / "videos" / "one-by-one-person-detection.mp4"),
        range=(0, 5),
        chunk_seconds=1,
        starts_at="2026-01-01T10:00:00Z",
    )


def failed_frames(client: Client, job: Job) -> list[int]:
    return [record.frame for record in client.frames(job) if record.status == "failed"]


def seen(folder: Path) -> list[int]:
    return sorted(int(line) for line in (folder / "seen").read_text().split())


@pytest.mark.usefixtures("worker")
def test_only_frames_without_results_are_looked_at_again(deployment: Deployment, tmp_path: Path, assets: Path) -> None:
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets), timeout_seconds=200)
        bad = failed_frames(client, job)
        assert (job.state, job.gaps_total, job.repairs) == ("succeeded_with_gaps", 1, 0), deployment.logs()
        assert bad == list(range(bad[0], 30))
        assert 20 <= bad[0] <= 25
        gap = job.gaps[0]
        assert (gap.first, gap.last, gap.frames, gap.status) == (bad[0], 29, len(bad), "failed")
        assert job.wall_clock is not None
        assert (job.wall_clock.start, job.wall_clock.source) == (datetime(2026, 1, 1, 10, tzinfo=UTC), "job")

        (tmp_path / "mended").touch()
        (tmp_path / "seen").unlink()
        queued = client.repair(job)
        assert queued.state in ("queued", "running")
        assert (queued.error, queued.gaps, queued.repairs) == (None, job.gaps, 1)
        mended = client.wait(job, timeout_seconds=200)
        records = list(client.frames(job))
    assert (mended.state, mended.error, mended.gaps_total) == ("succeeded", None, 0), deployment.logs()
    assert (mended.progress.frames_done, mended.progress.chunks_done, mended.progress.chunks_failed) == (50, 5, 0)
    assert seen(tmp_path) == bad
    assert [(r.frame, r.status, r.values["flaky"]) for r in records] == [(n, "ok", n) for n in range(50)]
    assert records[3].wall_time == pytest.approx(datetime(2026, 1, 1, 10, tzinfo=UTC).timestamp() + records[3].time)
    exported = (deployment.folder / "data" / "jobs" / "default" / job.id / "frames.ndjson").read_text().splitlines()
    assert exported == [record.to_json() for record in records]


def test_a_worker_that_dies_in_the_middle_of_a_repair_costs_nothing(
    deployment: Deployment, worker: subprocess.Popen[bytes], tmp_path: Path, assets: Path
) -> None:
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets, TRACK), timeout_seconds=200)
        good = {record.frame: record for record in client.frames(job) if record.status == "ok"}
        (tmp_path / "mended").touch()
        (tmp_path / "poison").touch()
        (tmp_path / "seen").unlink()
        client.repair(job)
        deployment.until(lambda: worker.poll() is not None, "the worker died")
        assert worker.returncode == 9
        start_worker(deployment)
        mended = client.wait(job, timeout_seconds=200)
        records = list(client.frames(job))
    assert (mended.state, mended.error) == ("succeeded", None), deployment.logs()
    assert [(r.frame, r.status, r.values["flaky"]) for r in records] == [(n, "ok", n) for n in range(50)]
    assert [good.get(record.frame, record).to_json() for record in records] == [record.to_json() for record in records]
    assert set(seen(tmp_path)).isdisjoint(good)


@pytest.mark.usefixtures("worker")
def test_a_repair_that_fails_again_leaves_what_was_good_and_can_be_tried_again(
    deployment: Deployment, tmp_path: Path, assets: Path
) -> None:
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets, TRACK), timeout_seconds=200)
        before = [record.to_json() for record in client.frames(job)]
        client.repair(job)
        again = client.wait(job, timeout_seconds=200)
        assert (again.state, again.gaps, again.repairs) == ("succeeded_with_gaps", job.gaps, 1), deployment.logs()
        assert [record.to_json() for record in client.frames(job)] == before
        (tmp_path / "mended").touch()
        client.repair(job)
        mended = client.wait(job, timeout_seconds=200)
        records = list(client.frames(job))
    assert (mended.state, mended.repairs) == ("succeeded", 2), deployment.logs()
    assert [(r.frame, r.status) for r in records] == [(n, "ok") for n in range(50)]


@pytest.mark.usefixtures("worker")
def test_a_gate_behind_a_chunk_that_was_repaired_says_what_it_says_of_one_that_never_failed(
    deployment: Deployment, tmp_path: Path, assets: Path
) -> None:
    gate = {"type": "motion_gate", "threshold": 0.002, "hold_frames": 1}
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets, gate, EDGES), timeout_seconds=200)
        gap = job.gaps[0]
        assert (job.state, job.gaps_total, gap.last) == ("succeeded_with_gaps", 1, 29), deployment.logs()
        behind = [record.to_json() for record in client.frames(job) if record.frame > gap.last]
        (tmp_path / "mended").touch()
        client.repair(job)
        mended = client.wait(job, timeout_seconds=200)
        clean = client.wait(submit(client, tmp_path, assets, gate, EDGES), timeout_seconds=200)
        records, expected = ([record.to_json() for record in client.frames(j)] for j in (mended, clean))
    assert (mended.state, clean.state, clean.repairs) == ("succeeded", "succeeded", 0), deployment.logs()
    # The chunk behind the gap was shown the pixels of the gap's last frames all the same: it needs no second look.
    assert records == expected
    assert records[-len(behind) :] == behind
    assert 0 < mended.summary["motion_gate"]["skipped"] < 50


@pytest.mark.usefixtures("worker")
def test_what_remembers_all_frames_is_after_a_repair_as_if_nothing_had_ever_failed(
    deployment: Deployment, tmp_path: Path, assets: Path
) -> None:
    with deployment.client() as client:
        job = client.wait(submit(client, tmp_path, assets, MOTION, TRACK), timeout_seconds=200)
        assert failed_frames(client, job) == list(range(25, 30)), deployment.logs()
        (tmp_path / "mended").touch()
        client.repair(job)
        mended = client.wait(job, timeout_seconds=200)
        clean = client.wait(submit(client, tmp_path, assets, MOTION, TRACK), timeout_seconds=200)
        records, expected = ([record.to_json() for record in client.frames(j)] for j in (mended, clean))
    assert (mended.state, clean.state) == ("succeeded", "succeeded"), deployment.logs()
    assert records == expected
    assert sum("moving" in line for line in records) == 50
