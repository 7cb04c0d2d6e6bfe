"""Cancel, pause, resume and retry of jobs that real workers are at."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cvpipe import Client
from cvpipe.job import Job
from cvpipe.store import Claim, Store
from cvpipe.tenants import DEFAULT, owned
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

#: Takes its time with each frame, notes it, and raises as long as there is a file `broken`; with a file `slow`, frames
#: from 30 on take half a second.
SLOW = '''
import time
from pathlib import Path
from typing import Literal

from cvpipe.results import Found
from cvpipe.stages import FrameStage, StageOptions


class SlowOptions(StageOptions):
    """Options of `slow`."""

    type: Literal["slow"] = "slow"
    folder: str
    seconds: float


class Slow(FrameStage[SlowOptions]):
    """Note what was seen."""

    Options = SlowOptions
    batch = 1

    def process(self, frames, found):
        folder = Path(self.options.folder)
        for frame in frames:
            time.sleep(0.5 if frame.number >= 30 and (folder / "slow").exists() else self.options.seconds)
            if (folder / "broken").exists() and frame.number % 10 == 5:
                raise ZeroDivisionError("broken")
            with (folder / "seen").open("a") as seen:
                seen.write(f"{frame.number}\\n")
        return [Found(values={self.name: frame.number}) for frame in frames]
'''


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, assets: Path, root: Path
) -> Iterator[Deployment]:
    """One for all tests, on Redis alone: the embedded broker."""
    folder = tmp_path_factory.mktemp("states")
    (folder / "cvpipe_stages").mkdir()
    (folder / "cvpipe_stages" / "slow.py").write_text(SLOW)
    deployment = Deployment(
        folder, redis_url=shared_redis_url, broker_url=None, PATH_ROOTS=assets / "videos", DEVICE="cpu"
    )
    deployment.env["PYTHONPATH"] = os.pathsep.join((str(root / "src"), str(root), str(folder)))
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,cpu,finish", "--threads", "1", "--sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def submit(deployment: Deployment, tmp_path: Path, assets: Path) -> Iterator[Callable[..., Job]]:
    """Post a job of frames that take some time each, in one chunk."""
    with deployment.client() as client:

        def post(frames: int, seconds: float, **more: float) -> Job:
            stages = [{"type": "slow", "folder": str(tmp_path), "seconds": seconds}]
            path = str(assets / "videos" / "one-by-one-person-detection.mp4")
            return client.submit(
                {"name": "p", "stages": stages}, path=path, range=(0, frames / 10), **({"chunk_seconds": 120} | more)
            )

        yield post


def seen(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "seen").read_text().split()]


def until_seen(deployment: Deployment, folder: Path, frames: int) -> None:
    deployment.until(lambda: (folder / "seen").exists() and len(seen(folder)) >= frames, f"{frames} frames are seen")


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Client]:
    with deployment.client() as client:
        yield client


def test_a_cancel_stops_the_work_in_the_middle_of_a_chunk(
    deployment: Deployment, client: Client, submit: Callable[..., Job], tmp_path: Path
) -> None:
    job = submit(1000, 0.02)  # twenty seconds
    until_seen(deployment, tmp_path, 20)
    assert client.cancel(job).state in ("canceling", "canceled")
    deployment.until(lambda: client.job(job).state == "canceled", "it is canceled", seconds=15)
    worked_on = len(seen(tmp_path))
    time.sleep(0.3)
    assert len(seen(tmp_path)) <= worked_on + 1 < 1000  # one that the sweeper did not wait for
    done = client.job(job).progress
    assert (done.chunks_total, done.chunks_done) == (1, 0)
    assert [record.frame for record in client.frames(job)] == list(range(done.frames_done))


def test_a_cancel_stops_a_trial(
    deployment: Deployment, client: Client, submit: Callable[..., Job], tmp_path: Path
) -> None:
    job = submit(1000, 1, dry_run=True, chunk_seconds=1)
    until_seen(deployment, tmp_path, 2)  # of the first and one more at each of four places, or more
    assert client.cancel(job).state in ("canceling", "canceled")
    deployment.until(lambda: client.job(job).state == "canceled", "it is canceled")
    worked_on = len(seen(tmp_path))
    time.sleep(1.2)
    assert len(seen(tmp_path)) <= worked_on + 1 < 9  # one that the sweeper did not wait for
    assert client.job(job).prediction is None


def test_a_paused_job_leaves_its_worker_to_others_and_goes_on_behind_its_last_record(
    deployment: Deployment, client: Client, submit: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "slow").touch()
    job = submit(60, 0.02)
    until_seen(deployment, tmp_path, 31)
    assert client.pause(job).state == "paused"
    assert client.pause(job).links["resume"] == f"/v1/jobs/{job.id}/resume"
    written = client.job(job).progress.frames_done
    other = client.submit("edges", path=client.job(job).path, range=(0, 1))
    assert client.wait(other, timeout_seconds=200).state == "succeeded"
    assert client.job(job).progress.frames_done == written
    before = len(seen(tmp_path))
    (tmp_path / "slow").unlink()
    assert client.resume(job).state in ("queued", "running")
    done = client.wait(job, timeout_seconds=200)
    assert (done.state, done.progress.frames_done) == ("succeeded", 60), deployment.logs()
    assert [(r.frame, r.values["slow"]) for r in client.frames(job)] == [(n, n) for n in range(60)]
    assert seen(tmp_path)[before:] == list(range(written, 60))


def test_a_worker_that_is_asked_to_stop_hands_back_what_it_can_not_end(
    deployment: Deployment, client: Client, submit: Callable[..., Job], tmp_path: Path, shared_redis_url: str
) -> None:
    worker = deployment.children[-1]
    job = submit(20, 30)  # half a minute for a frame
    deployment.until(lambda: client.job(job).progress.frames_total and not client.job(job).progress.waiting, "it runs")
    time.sleep(0.5)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, deployment.logs()
    assert time.monotonic() - began < 20  # two seconds, on a machine that has nothing else to do
    assert client.job(job).progress.waiting == "no worker listens to `cpu`"
    store = Store.connect(shared_redis_url)
    again = store.claim(f"chunk:{owned(DEFAULT, job.id)}:0:0", lease_seconds=30)
    store.close()
    assert isinstance(again, Claim)
    assert (again.crashes, again.failures, again.attempts) == (0, 0, 2)
    client.cancel(job)
    deployment.worker(queues="ingest,cpu,finish")


def test_workers_that_are_restarted_one_by_one_under_load_lose_and_repeat_nothing(
    deployment: Deployment, client: Client, submit: Callable[..., Job], tmp_path: Path
) -> None:
    deployment.start("sweep")
    pair = [deployment.worker(queues="ingest,cpu,finish") for _ in range(2)]
    jobs = [submit(100, 0.02, chunk_seconds=2) for _ in range(3)]
    until_seen(deployment, tmp_path, 20)
    for turn in range(4):
        old = pair.pop(0)
        old.send_signal(signal.SIGTERM)
        pair.append(deployment.worker(queues="ingest,cpu,finish"))
        # One that is still starting has taken nothing yet, and simply ends.
        assert old.wait(60) in (0, -signal.SIGTERM), deployment.logs()
        until_seen(deployment, tmp_path, 40 + 40 * turn)
    done = [client.wait(job, timeout_seconds=200) for job in jobs]
    assert [(job.state, job.progress.frames_done) for job in done] == [("succeeded", 100)] * 3, deployment.logs()
    for job in jobs:
        assert [(r.frame, r.values["slow"]) for r in client.frames(job)] == [(n, n) for n in range(100)]
    assert sorted(seen(tmp_path)) == sorted([*range(100)] * 3)


@pytest.mark.expects_errors
def test_a_failed_job_is_tried_again_and_what_was_good_is_not_looked_at_again(
    deployment: Deployment, client: Client, submit: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    job = client.wait(submit(30, 0.0, chunk_seconds=1), timeout_seconds=200)
    assert (job.state, job.progress.chunks_failed) == ("failed", 3), deployment.logs()
    good = [record.frame for record in client.frames(job) if record.status == "ok"]
    (tmp_path / "broken").unlink()
    (tmp_path / "seen").unlink()
    assert client.retry(job).state in ("queued", "running")
    done = client.wait(job, timeout_seconds=200)
    assert (done.state, done.retries, done.repairs, done.gaps) == ("succeeded", 1, 0, []), deployment.logs()
    assert len(good) > 0
    assert sorted(seen(tmp_path)) == [n for n in range(30) if n not in good]
    assert [record.status for record in client.frames(job)] == ["ok"] * 30
