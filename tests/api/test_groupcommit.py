"""Jobs that are submitted together are committed together, and each is answered by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from cvpipe.api.groupcommit import GroupCommit
from cvpipe.broker import Bell, make_broker
from cvpipe.errors import CvpipeError, InvalidPipeline, NotFound
from cvpipe.job import Job, JobRequest
from cvpipe.keys import ANYBODY
from cvpipe.lifecycle import Lifecycle
from cvpipe.settings import Settings
from cvpipe.store import Store, Submission
from tests.modelcards import make_card


class Slow(Lifecycle):
    """Commits nothing before it is told to, and notes how large the groups are."""

    def __init__(self, *doors: Any) -> None:
        super().__init__(*doors)
        self.go_on = threading.Event()
        self.came = threading.Semaphore(0)
        self.groups: list[int] = []

    def commit(self, submissions: Sequence[Submission]) -> list[tuple[Job, bool] | Exception]:
        self.groups.append(len(submissions))
        self.came.release()
        assert self.go_on.wait(30)
        return super().commit(submissions)


@pytest.fixture
def lifecycle(store: Store, redis_url: str, tmp_path: Path) -> Any:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    bell = Bell(make_broker(broker_url=None, redis_url=redis_url))
    yield Slow(store, bell, Settings(redis_url=redis_url, data_dir=tmp_path / "data", path_roots=str(tmp_path)))
    bell.close()


def make_request(folder: Path, pipeline: str = "edges") -> JobRequest:
    return JobRequest(path=str(folder / "clip.mp4"), pipeline=pipeline)


async def submitted(
    commits: GroupCommit, lifecycle: Slow, first: Sequence[JobRequest], then: Sequence[JobRequest]
) -> list[Any]:
    """The answers to requests that come one by one, and to those that come while these are on their way."""
    asked = []
    for request in first:
        asked.append(asyncio.create_task(commits.submit(request, by=ANYBODY)))
        assert await asyncio.to_thread(lifecycle.came.acquire, timeout=30)  # each is a group by itself
    asked += [asyncio.create_task(commits.submit(request, by=ANYBODY)) for request in then]
    for _ in range(3):  # they are handed over
        await asyncio.sleep(0)
    lifecycle.go_on.set()
    return await asyncio.gather(*asked, return_exceptions=True)


def test_what_comes_in_while_others_are_on_their_way_is_one_group(
    lifecycle: Slow, store: Store, tmp_path: Path
) -> None:
    commits = GroupCommit(lifecycle)
    request = make_request(tmp_path)
    answers = asyncio.run(submitted(commits, lifecycle, [request] * 2, [request] * 20))
    commits.close()
    assert lifecycle.groups[:2] == [1, 1]
    assert sum(lifecycle.groups) == 22
    assert len(lifecycle.groups) <= 4
    ids = {job.id for job, is_new in answers if is_new}
    assert len(ids) == 22
    assert {job.id for job in store.jobs("default")[0]} == ids


def test_one_that_is_wrong_harms_no_other(lifecycle: Slow, store: Store, tmp_path: Path) -> None:
    commits = GroupCommit(lifecycle)
    good, wrong = make_request(tmp_path), make_request(tmp_path, "no-such-pipeline")
    answers = asyncio.run(submitted(commits, lifecycle, [good] * 2, [good, wrong, good]))
    commits.close()
    assert isinstance(answers[3], NotFound)
    assert [isinstance(answer, CvpipeError) for answer in answers] == [False, False, False, True, False]
    assert len(store.jobs("default")[0]) == 4


def test_a_job_is_shown_as_it_is_in_the_store(lifecycle: Slow, store: Store, tmp_path: Path) -> None:
    lifecycle.go_on.set()
    job, is_new = lifecycle.submit(make_request(tmp_path), by=ANYBODY)
    assert is_new
    assert job == store.job(f"default/{job.id}")
    assert job.progress.waiting == "no worker listens to `ingest`"


def test_jobs_are_committed_though_redis_has_forgotten_the_script(
    lifecycle: Slow, store: Store, tmp_path: Path
) -> None:
    lifecycle.go_on.set()
    submissions = [lifecycle.prepare(make_request(tmp_path), by=ANYBODY) for _ in range(3)]
    cast("Any", store.client).script_flush()
    assert [answer[1] for answer in cast("list[tuple[Job, bool]]", lifecycle.commit(submissions))] == [True] * 3
    again = lifecycle.commit(submissions)  # as if the answer had got lost
    assert [answer[1] for answer in cast("list[tuple[Job, bool]]", again)] == [True] * 3
    assert len(store.jobs("default")[0]) == 3


def test_a_named_pipeline_is_checked_again_once_its_file_or_a_model_has_changed(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    card, pipeline = tmp_path / "models" / "tiny" / "model.yaml", tmp_path / "pipelines" / "seen.yaml"
    for folder in (card.parent, pipeline.parent):
        folder.mkdir(parents=True)
    card.write_text(yaml.safe_dump(make_card(version="1")))
    pipeline.write_text("name: seen\nstages: [{type: detect, model: tiny, classes: [bird]}]\n")
    settings = Settings(
        redis_url=redis_url, data_dir=tmp_path / "data", path_roots=str(tmp_path), models_dir=card.parents[1],
        pipelines_dir=pipeline.parent,
    )  # fmt: skip
    bell = Bell(make_broker(broker_url=None, redis_url=redis_url))
    lifecycle, request = Lifecycle(store, bell, settings), make_request(tmp_path, "seen")

    def model() -> str:
        return str(lifecycle.prepare(request, by=ANYBODY).doc["pipeline"]["stages"][0]["model"])

    assert [model(), model()] == ["tiny@1", "tiny@1"]
    card.write_text(yaml.safe_dump(make_card(version="2")))
    assert [model(), model()] == ["tiny@2", "tiny@2"]
    card.write_text(yaml.safe_dump(make_card(version="2", labels=["cat"])))
    for _ in range(2):
        with pytest.raises(InvalidPipeline, match="no class 'bird'"):
            model()
    pipeline.write_text("name: seen\nstages: [{type: detect, model: tiny, queue: nowhere}]\n")
    with pytest.raises(InvalidPipeline, match="no queue"):
        model()
    card.unlink()
    with pytest.raises(NotFound, match="tiny"):
        model()
    bell.close()
