"""A dry run, step by step: what it counts in, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvpipe.job import Job, JobRequest, JobState
from cvpipe.keys import Identity
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.video import Decoders
from cvpipe.work import ingest
from cvpipe.work.trial import trial
from tests.work.test_finish import Service, decoders, video

__all__ = ["decoders", "video"]  # fixtures

STAGES = (
    {"type": "motion"},
    {"type": "track", "of": "motion", "min_hits": 1},
    {"type": "crops", "name": "best", "of": "motion", "best": 2},
    {"type": "normalise", "fps": 25},
)


@pytest.fixture
def service(tmp_path: Path, redis_url: str, decoders: Decoders) -> Iterator[Service]:
    settings = Settings(
        redis_url=redis_url, data_dir=tmp_path / "data", path_roots=str(tmp_path), device="cpu", lease_seconds=30
    )
    service = Service(settings, decoders)
    yield service
    service.store.close()


def try_it(service: Service, video: Path, *stages: dict[str, Any], **more: Any) -> Job:
    request = JobRequest.model_validate(
        {"path": str(video), "pipeline": {"name": "p", "stages": stages}, "chunk_seconds": 1, "dry_run": True} | more
    )
    job, _ = service.lifecycle.submit(request, by=Identity("t", frozenset({Scope.admin})))
    ingest(service.bench, f"ingest:t/{job.id}")
    trial(service.bench, f"trial:t/{job.id}")
    return service.store.job(f"t/{job.id}")


def test_it_counts_in_crops_videos_and_files_of_the_whole_job_and_leaves_nothing(service: Service, video: Path) -> None:
    tried = try_it(service, video, *STAGES, annotate=True)
    assert (tried.state, tried.exports) == (JobState.succeeded, [])
    folder = service.folder(f"t/{tried.id}")
    assert not folder.exists()
    said = tried.prediction
    assert said is not None
    plain = try_it(service, video, *STAGES[:2]).prediction
    assert plain is not None
    assert plain.output_bytes.high < said.output_bytes.likely
    job = service.submit(video, *STAGES, annotate=True, **{"from": tried.id})
    done = service.finish(job)
    assert {"frames.ndjson", "annotated.mp4", "crops.ndjson", "normalised.mp4"} < set(done.exports)
    assert done.outcome is not None
    made = service.folder(job)
    assert list((made / "crops").iterdir())
    files = [path for name in done.exports for path in [made / name]] + list((made / "crops").iterdir())
    assert done.outcome.output_bytes == sum(path.stat().st_size for path in files)
    assert done.outcome.within["output_bytes"], (said, done.outcome)
    assert done.outcome.within["memory_bytes"], (said, done.outcome)


def test_a_job_that_may_stop_at_once_may_take_next_to_nothing(service: Service, video: Path) -> None:
    said = try_it(service, video, {"type": "edges"}, annotate=True, stop_when="time > 1").prediction
    assert said is not None
    assert (said.seconds.low, said.output_bytes.low) == (0, 0)
    assert said.output_bytes.likely > 0
