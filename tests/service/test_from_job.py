"""A job that begins with another's results runs only what has changed, and ends with what a job from scratch has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvpipe import ApiError, Client
from cvpipe.job import Job
from tests.modelcards import write_yolox_card
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

PEOPLE = {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"], "score": 0.4}
MOTION = {"type": "scenes"}
EDGES = {"type": "edges"}
TRACK = {"type": "track", "of": "people"}


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / "one-by-one-person-detection.mp4"


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, video: Path, assets: Path
) -> Iterator[Deployment]:
    """On Redis alone: the embedded broker."""
    folder = tmp_path_factory.mktemp("from")
    write_yolox_card(folder / "models", assets)
    deployment = Deployment(
        folder,
        redis_url=shared_redis_url,
        broker_url=None,
        PATH_ROOTS=video.parent,
        MODELS_DIR=folder / "models",
        DEVICE="cpu",
    )
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,cpu,gpu,sequence,finish", "--threads", "1", "--sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Client]:
    with deployment.client() as client:
        yield client


def run(client: Client, *stages: dict[str, Any], video: Path, **more: Any) -> Job:
    job = client.submit({"name": "p", "stages": stages}, path=str(video), range=(5.5, 8.5), chunk_seconds=1, **more)
    return client.wait(job, timeout_seconds=200)


def lines(client: Client, job: Job) -> list[str]:
    return [record.to_json() for record in client.frames(job)]


def pictures(job: Job) -> int:
    """How many frames a network has looked at for the job."""
    return sum(use.pictures for use in job.usage.values())


def test_a_changed_tracker_takes_all_that_was_found_and_no_network_looks_again(client: Client, video: Path) -> None:
    first = run(client, PEOPLE, TRACK, video=video)
    assert pictures(first) == 30
    changed = client.wait(client.submit(from_job=first, options={"track": {"min_hits": 5}}), timeout_seconds=200)
    fresh = run(client, PEOPLE, TRACK | {"min_hits": 5}, video=video)
    assert (changed.state, changed.from_job, changed.reused) == ("succeeded", first.id, ["people"])
    assert (pictures(changed), pictures(fresh)) == (0, 30)
    assert lines(client, changed) == lines(client, fresh)
    assert lines(client, changed) != lines(client, first)
    again = client.wait(client.submit(from_job=changed), timeout_seconds=200)
    assert (again.reused, lines(client, again)) == (["people"], lines(client, fresh))


def test_what_comes_behind_the_first_change_runs_again_and_nothing_before_it(client: Client, video: Path) -> None:
    first = run(client, PEOPLE, MOTION, EDGES, video=video)
    stages = (PEOPLE, MOTION, EDGES | {"low": 20})
    changed = run(client, *stages, video=video, from_job=first)
    fresh = run(client, *stages, video=video)
    assert (changed.reused, pictures(changed)) == (["people", "scenes"], 0)
    assert lines(client, changed) == lines(client, fresh)
    assert lines(client, changed) != lines(client, first)
    without = run(client, PEOPLE, video=video, from_job=first)
    assert (without.reused, pictures(without)) == (["people"], 0)
    assert lines(client, without) == lines(client, run(client, PEOPLE, video=video))


@pytest.mark.parametrize("change", ["options", "range"])
def test_nothing_is_taken_over_where_it_would_be_wrong(client: Client, video: Path, change: str) -> None:
    first = run(client, PEOPLE, video=video)
    more: dict[str, Any] = {"options": {"people": {"score": 0.3}}} if change == "options" else {"range": (5.5, 8.4)}
    job = client.wait(client.submit(from_job=first, **more), timeout_seconds=200)
    assert (job.state, job.reused, pictures(job)) == ("succeeded", [], 30 if change == "options" else 29)


def test_what_was_taken_over_outlives_the_job_that_it_is_from(
    deployment: Deployment, client: Client, video: Path
) -> None:
    first = run(client, PEOPLE, video=video)
    expected = lines(client, first)
    second = client.submit(from_job=first)
    deployment.until(lambda: client.job(second).progress.frames_total, "it is planned")
    client.delete(first)
    done = client.wait(second, timeout_seconds=200)
    assert (done.state, lines(client, done)) == ("succeeded", expected)
    client.delete(done)
    jobs = deployment.folder / "data" / "jobs"
    deployment.until(lambda: not list(jobs.rglob(f"{done.id}*")), "nothing is left of it")


def test_a_job_to_start_from_must_be_there_and_be_done(client: Client, video: Path) -> None:
    with pytest.raises(ApiError, match="there is no job"):
        client.submit(from_job="nobody")
    running = client.submit({"name": "p", "stages": [PEOPLE]}, path=str(video))
    with pytest.raises(ApiError, match="only of one that is done"):
        client.submit(from_job=running)
    client.cancel(running)
    first = run(client, EDGES, video=video)
    with pytest.raises(ApiError, match="the pipeline has no stage 'people'; it has edges"):
        client.submit(from_job=first, options={"people": {"score": 0.3}})
