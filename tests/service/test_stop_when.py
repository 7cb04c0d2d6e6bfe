"""A job that stops early, at real workers: where it ends depends on neither chunks, nor workers, nor their deaths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvpipe import ApiError, Client
from cvpipe.job import Job, Stopped
from cvpipe.store import Store
from cvpipe.tenants import DEFAULT, owned
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

#: Notes each frame, and kills its process at frame 31 as long as there is a file `deadly`, which it removes.
SEEN = '''
import os
import signal
import time
from pathlib import Path
from typing import Literal

from cvpipe.results import Found
from cvpipe.stages import FrameStage, StageOptions


class SeenOptions(StageOptions):
    """Options of `seen`."""

    type: Literal["seen"] = "seen"
    folder: str
    seconds: float = 0


class Seen(FrameStage[SeenOptions]):
    """Note what was seen."""

    Options = SeenOptions
    batch = 1

    def process(self, frames, found):
        folder = Path(self.options.folder)
        for frame in frames:
            time.sleep(self.options.seconds)
            if frame.number == 31 and (folder / "deadly").exists():
                (folder / "deadly").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            with (folder / "seen").open("a") as seen:
                seen.write(f"{frame.number}\\n")
        return [Found(values={self.name: {"n": frame.number}}) for frame in frames]
'''

#: Counts frames, and tells of each tenth.
TALLY = '''
from dataclasses import replace
from typing import Literal

from cvpipe.events import Event, Moment
from cvpipe.stages import SequenceStage, StageOptions


class TallyOptions(StageOptions):
    """Options of `tally`."""

    type: Literal["tally"] = "tally"


class Tally(SequenceStage[TallyOptions]):
    """Count frames."""

    Options = TallyOptions
    event_kinds = ("tenth", "end")

    def __init__(self, options):
        super().__init__(options)
        self._n, self._last = 0, None

    def update(self, record):
        self._n, self._last = self._n + 1, Moment.of(record)
        if self._n % 10 == 0:
            self._say("tenth")
        return replace(record, values={**record.values, self.name: {"n": self._n}})

    def _say(self, kind):
        self.tell(Event(kind, self.name, self._last, self._last, self._last, values={"n": self._n}))

    def end(self):
        self._say("end")

    def state(self):
        return {"n": self._n}

    def restore(self, state):
        self._n = state["n"]
'''


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, assets: Path, root: Path
) -> Iterator[Deployment]:
    """On Redis alone: the embedded broker."""
    folder = tmp_path_factory.mktemp("stop")
    (folder / "cvpipe_stages").mkdir()
    (folder / "cvpipe_stages" / "seen.py").write_text(SEEN)
    (folder / "cvpipe_stages" / "tally.py").write_text(TALLY)
    deployment = Deployment(
        folder, redis_url=shared_redis_url, broker_url=None, PATH_ROOTS=assets / "videos", DEVICE="cpu"
    )
    deployment.env["PYTHONPATH"] = os.pathsep.join((str(root / "src"), str(root), str(folder)))
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,cpu,sequence,finish", "--threads", "2", "--sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def store(shared_redis_url: str) -> Iterator[Store]:
    store = Store.connect(shared_redis_url)
    yield store
    store.close()


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Client]:
    with deployment.client() as client:
        yield client


def submit(client: Client, assets: Path, folder: Path, *more: dict[str, Any], frames: int = 120, **job: Any) -> Job:
    seconds = job.pop("seconds", 0)
    stages = [{"type": "seen", "folder": str(folder), "seconds": seconds}, *more]
    path = str(assets / "videos" / "one-by-one-person-detection.mp4")
    return client.submit({"name": "p", "stages": stages}, path=path, range=(0, frames / 10), **job)


def lines(client: Client, job: Job) -> list[str]:
    return [record.to_json() for record in client.frames(job)]


@pytest.mark.parametrize(
    ("stages", "condition", "last"),
    [
        ([], "seen.n >= 33", 33),
        ([{"type": "tally"}], "tally.n > 33", 33),
        ([{"type": "tally"}], '"tenth" in events and frame > 30', 39),
    ],
    ids=["frames", "sequence", "events"],
)
@pytest.mark.parametrize("chunk_seconds", [1, 120])
def test_the_records_are_those_of_the_whole_job_up_to_that_frame(
    deployment: Deployment, client: Client, store: Store, assets: Path, tmp_path: Path,
    stages: list[dict[str, Any]], condition: str, last: int, chunk_seconds: float,
) -> None:  # fmt: skip
    whole = client.wait(submit(client, assets, tmp_path, *stages, frames=60), timeout_seconds=200)
    job = submit(client, assets, tmp_path, *stages, stop_when=condition, chunk_seconds=chunk_seconds)
    done = client.wait(job, timeout_seconds=200)
    assert (done.state, done.error) == ("succeeded", None), deployment.logs()
    assert done.stop_when == condition
    assert done.stopped == Stopped(frame=last, time=last / 10, condition=condition)
    assert lines(client, done) == lines(client, whole)[: last + 1]
    assert (done.progress.frames_done, done.progress.frames_total, done.progress.fraction) == (last + 1, last + 1, 1)
    client.download(done, "frames.ndjson", tmp_path)
    assert (tmp_path / "frames.ndjson").read_text().splitlines() == lines(client, done)
    happened = [event["type"] for _, event in store.events(owned(DEFAULT, done.id), limit=1000)]
    assert [kind for kind in happened if kind.startswith("job.")] == ["job.queued", "job.running", "job.succeeded"]
    if stages:
        told = [(event.kind, event.values["n"]) for event in client.events(done)]
        assert told == [*(("tenth", n) for n in range(10, last + 2, 10)), ("end", last + 1)]


def test_what_lies_behind_is_not_begun_or_left_in_the_middle(
    deployment: Deployment, client: Client, assets: Path, tmp_path: Path
) -> None:
    job = submit(
        client, assets, tmp_path, frames=1200, seconds=0.01, stop_when="seen.n >= 33", chunk_seconds=2
    )  # fmt: skip
    done = client.wait(job, timeout_seconds=200)
    assert done.stopped is not None
    assert len((tmp_path / "seen").read_text().split()) < 600, deployment.logs()
    assert [record.frame for record in client.frames(done)] == list(range(34))


@pytest.mark.parametrize("stages", [[], [{"type": "tally"}]], ids=["frames", "sequence"])
def test_a_worker_that_dies_in_the_chunk_where_it_ends_changes_nothing(
    deployment: Deployment, client: Client, assets: Path, tmp_path: Path, stages: list[dict[str, Any]]
) -> None:
    whole = client.wait(submit(client, assets, tmp_path, *stages, frames=60), timeout_seconds=200)
    (tmp_path / "deadly").touch()
    condition = "tally.n > 33" if stages else "seen.n >= 33"
    job = submit(client, assets, tmp_path, *stages, stop_when=condition, chunk_seconds=1.2)
    deployment.until(lambda: not (tmp_path / "deadly").exists(), "a worker has died")
    deployment.start("worker", "--queues", "ingest,cpu,sequence,finish", "--threads", "2", "--sweep")
    done = client.wait(job, timeout_seconds=200)
    assert (done.state, done.stopped and done.stopped.frame) == ("succeeded", 33), deployment.logs()
    assert lines(client, done) == lines(client, whole)[:34]


def test_a_job_from_one_that_stopped_stops_too_unless_it_says_otherwise(
    client: Client, assets: Path, tmp_path: Path
) -> None:
    first = client.wait(submit(client, assets, tmp_path, frames=40, stop_when="seen.n > 9"), timeout_seconds=200)
    again = client.wait(client.submit(from_job=first), timeout_seconds=200)
    assert (again.stop_when, again.stopped) == (first.stop_when, first.stopped)
    other = client.wait(client.submit(from_job=first, stop_when="seen.n > 19"), timeout_seconds=200)
    assert other.stopped is not None
    assert (other.stopped.frame, other.progress.frames_done) == (20, 21)


@pytest.mark.parametrize(
    ("condition", "message"),
    [("sen.n > 3", "there is no stage"), ("frame >", "wanted a field"), ('"tenth" in events', "tells of events")],
)
def test_a_condition_that_can_not_be_is_told_when_it_is_submitted(
    client: Client, assets: Path, tmp_path: Path, condition: str, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        submit(client, assets, tmp_path, stop_when=condition)
    assert message.replace("there is no stage", "the pipeline has no stage 'sen'") in str(caught.value)
    assert caught.value.field == "stop_when"
