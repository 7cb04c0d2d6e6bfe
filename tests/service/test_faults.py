"""Faults of single chunks: they cost a chunk, never the job, and every frame has a record that says so."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

POISON = '''
import os
from typing import Literal

from cvpipe.results import Found
from cvpipe.stages import FrameStage, StageOptions


class PoisonOptions(StageOptions):
    """Options of `poison`."""

    type: Literal["poison"] = "poison"
    at: int
    how: Literal["die", "raise"]


class Poison(FrameStage[PoisonOptions]):
    """Kill the worker, or raise, at one frame."""

    Options = PoisonOptions

    def process(self, frames, found):
        if any(frame.number == self.options.at for frame in frames):
            if self.options.how == "die":
                os._exit(9)
            raise ZeroDivisionError("poison")
        return [Found(values={self.name: frame.number}) for frame in frames]
'''


GRUDGE = '''
from typing import Literal

from cvpipe.stages import SequenceStage, StageOptions


class GrudgeOptions(StageOptions):
    """Options of `grudge`."""

    type: Literal["grudge"] = "grudge"


class Grudge(SequenceStage[GrudgeOptions]):
    """Count records, and raise at frame 5."""

    Options = GrudgeOptions
    count = 0

    def update(self, record):
        if record.frame == 5:
            raise ZeroDivisionError("grudge")
        self.count += 1
        return record

    def state(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]
'''


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / "one-by-one-person-detection.mp4"


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, video: Path, root: Path
) -> Iterator[Deployment]:
    """API and sweeper, on Redis alone: the embedded broker."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "cvpipe_stages").mkdir()
    (folder / "cvpipe_stages" / "poison.py").write_text(POISON)
    (folder / "cvpipe_stages" / "grudge.py").write_text(GRUDGE)
    path = os.pathsep.join((str(root / "src"), str(root), str(folder)))
    deployment = Deployment(
        folder,
        redis_url=shared_redis_url,
        broker_url=None,
        PATH_ROOTS=f"{video.parent}:{folder}",
        DEVICE="cpu",
        EXTRA_QUEUES="apart",
    )
    deployment.env["PYTHONPATH"] = path
    deployment.start_api()
    deployment.start("sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    """Workers are each test's own."""
    yield shared
    shared.close(keep=2)


@pytest.mark.parametrize("how", ["die", "raise"])
def test_a_chunk_that_kills_its_worker_three_times_is_given_up_and_the_others_are_done(
    deployment: Deployment, video: Path, how: str
) -> None:
    worker = deployment.worker()
    pipeline = {"name": "p", "stages": [{"type": "poison", "at": 25, "how": how}, {"type": "track"}]}
    with deployment.client() as client:
        job = client.submit(pipeline=pipeline, path=str(video), range={"from": 0, "to": 5}, chunk_seconds=1)
        deaths = 0

        def is_over() -> bool:
            nonlocal worker, deaths
            if worker.poll() is not None:
                deaths += 1
                worker = deployment.worker()
            return client.job(job.id).state.is_final

        deployment.until(is_over, "the job is over")
        done = client.job(job.id)
        records = list(client.frames(job.id))
    assert done.state == "succeeded_with_gaps", deployment.logs()
    assert done.error is not None
    assert deaths == (3 if how == "die" else 0)
    assert done.error.code == ("worker_crashed" if how == "die" else "stage_failed")
    assert done.progress.chunks_failed == 1
    assert [record.frame for record in records] == list(range(50))
    failed = [record.frame for record in records if record.status == "failed"]
    assert failed == list(range(failed[0], 30))
    assert 20 <= failed[0] <= 25


def test_a_sequence_chunk_that_is_given_up_takes_no_other_with_it(deployment: Deployment, video: Path) -> None:
    deployment.worker(queues="ingest,cpu,sequence,finish")
    pipeline = {"name": "p", "stages": [{"type": "grudge"}]}
    with deployment.client() as client:
        job = client.submit(pipeline=pipeline, path=str(video), range={"from": 0, "to": 3}, chunk_seconds=1)
        deployment.until(lambda: client.job(job.id).state.is_final, "the job is over")
        done = client.job(job.id)
        records = list(client.frames(job.id))
    assert (done.state, done.progress.chunks_failed) == ("succeeded_with_gaps", 1), deployment.logs()
    assert [record.frame for record in records] == list(range(30))
    assert [record.frame for record in records if record.status == "failed"] == list(range(5, 10))


def test_a_worker_without_the_stage_ends_the_job_and_not_itself(
    deployment: Deployment, video: Path, root: Path
) -> None:
    without = {"PYTHONPATH": os.pathsep.join((str(root / "src"), str(root)))}
    worker = deployment.start("worker", "--queues", "ingest,cpu,sequence,finish", env=without)
    pipeline = {"name": "p", "stages": [{"type": "poison", "at": -1, "how": "raise"}]}
    with deployment.client() as client:
        job = client.submit(pipeline=pipeline, path=str(video), range={"from": 0, "to": 1})
        deployment.until(lambda: client.job(job.id).state.is_final, "the job is over")
        done = client.job(job.id)
    assert done.state == "failed"
    assert done.error is not None
    assert "poison" in done.error.message
    assert worker.poll() is None


def test_a_stage_on_its_own_queue_adds_to_the_records_of_those_before(deployment: Deployment, video: Path) -> None:
    deployment.worker(queues="ingest,cpu,sequence,finish")
    stages = [{"type": "edges"}, {"type": "poison", "at": -1, "how": "raise", "queue": "apart"}]
    with deployment.client() as client:
        job = client.submit(pipeline={"name": "p", "stages": stages}, path=str(video), range={"from": 0, "to": 2})
        deployment.until(lambda: client.job(job.id).state == "running", "the job runs")
        deployment.worker(queues="apart")
        deployment.until(lambda: client.job(job.id).state.is_final, "the job is over")
        done = client.job(job.id)
        records = list(client.frames(job.id))
    assert done.state == "succeeded", deployment.logs()
    assert [(record.frame, set(record.values)) for record in records] == [(n, {"edges", "poison"}) for n in range(20)]
    assert records[7].values["poison"] == 7


def test_a_file_that_changes_under_a_job_is_told(deployment: Deployment, video: Path) -> None:
    mine = deployment.folder / "mine.mp4"
    mine.write_bytes(video.read_bytes())
    deployment.worker(queues="ingest,sequence,finish")
    with deployment.client() as client:
        job = client.submit(pipeline="edges", path=str(mine))
        deployment.until(lambda: client.job(job.id).progress.frames_total, "the job is planned")
        mine.write_bytes(video.read_bytes()[:-1] + b"x")
        deployment.worker(queues="cpu")
        deployment.until(lambda: client.job(job.id).state.is_final, "the job is over")
        done = client.job(job.id)
    assert done.state == "failed"
    assert done.error is not None
    assert (done.error.code, done.error.message) == (
        "input_changed", "path: the file has changed since the job began",
    )  # fmt: skip
