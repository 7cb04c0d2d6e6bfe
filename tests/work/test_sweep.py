"""What a sweeper removes: jobs that are not kept any longer, with all that belongs to them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvpipe.errors import NotFound
from cvpipe.job import JobError, JobState
from cvpipe.lifecycle import job_folder
from cvpipe.settings import Settings
from cvpipe.store import Store
from cvpipe.work import Bench
from cvpipe.work.sweep import sweep_jobs, sweep_orphans
from tests.store.test_store import claim, submit
from tests.work.test_finish import Bell

DAY = 24 * 3600


@pytest.fixture
def bench(redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    settings = Settings(redis_url=redis_url, data_dir=tmp_path, keep_jobs_seconds=DAY)
    store = Store.connect(redis_url)
    yield Bench(settings, store, Bell())  # type: ignore[arg-type]
    store.close()


def ended(bench: Bench, job: str, *, ago: float) -> Path:
    """A job that ended so many seconds ago, with a file; returns its folder."""
    submit(bench.store, job)
    error = JobError(code="internal", message="x")
    bench.store.end_job(claim(bench.store, f"ingest:{job}"), job, JobState.failed, error=error, exports=[])
    bench.store.client.zincrby("cvpipe:ended", -1000 * ago, job)
    folder = job_folder(bench.settings, job)
    folder.mkdir(parents=True)
    (folder / "frames.ndjson").touch()
    return folder


def test_what_is_over_for_too_long_goes_with_its_files_and_nothing_else_does(bench: Bench) -> None:
    old = ended(bench, "t/old", ago=DAY + 10)
    new = ended(bench, "t/new", ago=DAY - 10)
    submit(bench.store, "t/waits")
    assert sweep_jobs(bench) == 1
    assert (old.exists(), new.exists()) == (False, True)
    with pytest.raises(NotFound):
        bench.store.job("t/old")
    assert not [key for key in bench.store.client.keys("cvpipe:*") if b"t/old" in key]  # type: ignore[union-attr]
    assert {job.id for job in bench.store.jobs("t")[0]} == {"new", "waits"}
    assert sweep_jobs(bench) == 0


def test_a_job_that_is_tried_again_is_not_over_any_more(bench: Bench) -> None:
    folder = ended(bench, "t/again", ago=DAY + 10)
    bench.store.retry("t/again")
    assert sweep_jobs(bench) == 0
    assert folder.exists()


def test_without_a_limit_jobs_are_kept(bench: Bench) -> None:
    ended(bench, "t/old", ago=1000 * DAY)
    kept = Bench(bench.settings.model_copy(update={"keep_jobs_seconds": None}), bench.store, bench.bell)
    assert sweep_jobs(kept) == 0
    assert bench.store.job("t/old").state == JobState.failed


def orphan(bench: Bench, job: str, *, ago: float) -> Path:
    """The folder of a job that the store does not know, untouched for so long."""
    folder = job_folder(bench.settings, job)
    folder.mkdir(parents=True)
    (folder / "frames.ndjson").touch()
    for path in (folder / "frames.ndjson", folder):
        os.utime(path, (time.time() - ago, time.time() - ago))
    return folder


def test_folders_of_jobs_that_are_not_there_go_after_an_hour(bench: Bench) -> None:
    known = ended(bench, "t/known", ago=10)
    os.utime(known / "frames.ndjson", (0, 0))
    os.utime(known, (0, 0))
    old, new = orphan(bench, "t/old", ago=3700), orphan(bench, "other/new", ago=3500)
    assert sweep_orphans(bench) == 1
    assert (known.exists(), old.exists(), new.exists()) == (True, False, True)
    assert sweep_orphans(bench) == 0


def test_an_empty_store_may_be_the_wrong_one_and_removes_no_folder(bench: Bench) -> None:
    folder = orphan(bench, "t/old", ago=10 * DAY)
    assert sweep_orphans(bench) == 0
    assert folder.exists()
