"""A job that stops early, step by step: what its files hold, and what becomes of it when a worker dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvpipe.job import JobState, Stopped
from cvpipe.video import Decoders
from cvpipe.work import work
from tests.work.test_finish import EDGES, NORMALISE, Crash, Service, decoders, pictures, service, video

__all__ = ["decoders", "service", "video"]  # fixtures

HELD = "edges.density >= 0 and time >= 1.2"


def frames(service: Service, job: str) -> list[int]:
    return [record.frame for _, record in service.store.frames(job)[0]]


@pytest.mark.parametrize("stages", [[EDGES], [EDGES, {"type": "edges", "name": "again", "queue": "gpu"}]])
def test_all_files_end_with_the_frame_though_the_last_chunk_was_done_first(
    service: Service, decoders: Decoders, video: Path, stages: list[dict[str, Any]]
) -> None:
    job = service.submit(video, *stages, NORMALISE, annotate=True, stop_when=HELD)
    done = service.finish(job)
    assert (done.state, done.error, done.gaps) == (JobState.succeeded, None, [])
    assert done.stopped == Stopped(frame=30, time=1.2, condition=HELD)
    folder = service.folder(job)
    lines = (folder / "frames.ndjson").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(31)) == frames(service, job)
    assert len(pictures(decoders, folder / "annotated.mp4")[0]) == 31
    assert max(pictures(decoders, folder / "normalised.mp4")[0]) <= 1.25
    assert (done.progress.frames_total, done.progress.fraction) == (31, 1)


@pytest.mark.parametrize("at", ["append", "finish_chunk"])
def test_a_worker_that_dies_once_it_has_said_so_is_followed_by_one_that_ends_there(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    stop_at, broken = service.store.stop_at, getattr(service.store, at)

    def dies(*_args: Any, **_more: Any) -> Any:
        monkeypatch.setattr(service.store, at, broken)
        raise Crash

    def said(*args: Any, **more: Any) -> None:
        stop_at(*args, **more)
        if getattr(service.store, at) == broken and not deaths:
            deaths.append(1)
            monkeypatch.setattr(service.store, at, dies)

    deaths: list[int] = []
    monkeypatch.setattr(service.store, "stop_at", said)
    with pytest.raises(Crash):
        service.submit(video, EDGES, stop_when=HELD)
    (job,) = [f"t/{job.id}" for job in service.store.jobs("t")[0]]
    assert service.store.job(job).stopped is not None
    for number in (1, 0):
        task = f"chunk:{job}:0:{number}"
        service.store.client.hset(f"cvpipe:task:{task}", "lease_until", 1)  # its lease has run out
        service.store.client.zadd("cvpipe:due", {task: 1})
        work(service.bench, task)
    done = service.finish(job)
    assert (done.state, frames(service, job)) == (JobState.succeeded, list(range(31)))


def test_a_frame_that_could_not_be_looked_at_ends_no_job(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit(video, EDGES, stop_when="objects == 7 or time >= 2.2")
    assert service.finish(job).stopped == Stopped(frame=55, time=2.2, condition="objects == 7 or time >= 2.2")
    other = service.submit(video, EDGES, stop_when="objects == 7")
    assert (service.finish(other).stopped, len(frames(service, other))) == (None, 60)
