"""Stands in for the workers: what they do to the store, without video or models."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx

from cvpipe.job import JobState
from cvpipe.results import FrameRecord, Objects
from cvpipe.store import Claim, Store
from cvpipe.tenants import DEFAULT, owned

PIPELINE = {"name": "every", "stages": [{"type": "decimate", "fps": 25}]}
CHUNK_FRAMES = 10
_SEGMENTS = [{"kind": "frames", "queue": "cpu", "stages": []}]


def named(id: str) -> str:
    """What the store calls the job, or the video, that the API calls `id`."""
    return owned(DEFAULT, id)


def make_record(frame: int) -> FrameRecord:
    """Ten frames a second, one person on each."""
    found = Objects.make(stage="people", box=[[frame, 1, frame + 9, 20]], score=[0.5], label=["person"], class_id=[0])
    return FrameRecord(frame, 512 * frame, frame / 10, objects=found, values={"edges": {"density": 0.25}})


def upload(api: httpx.Client, body: bytes = b"a video", **params: Any) -> dict[str, Any]:
    """Send a video; returns it."""
    response = api.put("/v1/videos", content=body, params=params)
    assert response.status_code in (200, 201), response.text
    assert response.json()["id"] == hashlib.sha256(body).hexdigest()
    return response.json()


def submit(api: httpx.Client, **changes: Any) -> dict[str, Any]:
    """Post a job on a video; returns it."""
    request = {"video": upload(api)["id"], "pipeline": PIPELINE} | changes
    response = api.post("/v1/jobs", json={name: value for name, value in request.items() if value is not None})
    assert response.status_code == 202, response.text
    return response.json()


def claim(store: Store, task: str) -> Claim:
    """Hold a task."""
    held = store.claim(task, lease_seconds=30)
    assert isinstance(held, Claim), held
    return held


def plan(store: Store, job: str, *, chunks: int = 1) -> None:
    """Ingest the job: chunks of ten frames, one second each."""
    spans = [(CHUNK_FRAMES * n, CHUNK_FRAMES * (n + 1), 1000 * n) for n in range(chunks)]
    held = claim(store, f"ingest:{named(job)}")
    store.plan(
        held, named(job), segments=_SEGMENTS, chunks=spans, frames_total=CHUNK_FRAMES * chunks,
        video=named("0" * 64), models={},
    )  # fmt: skip


def append(store: Store, held: Claim, job: str, chunk: int, frames: range) -> None:
    """Write records of a chunk."""
    records = [make_record(number) for number in frames]
    store.append(held, named(job), (0, chunk), records, lease_seconds=30, counted=True)


def work_chunk(store: Store, job: str, chunk: int) -> None:
    """Do a whole chunk."""
    held = claim(store, f"chunk:{named(job)}:0:{chunk}")
    append(store, held, job, chunk, range(CHUNK_FRAMES * chunk, CHUNK_FRAMES * (chunk + 1)))
    store.finish_chunk(held, named(job), 0, chunk)


def finish(store: Store, job: str, *, folder: Path | None = None, exports: dict[str, bytes] | None = None) -> None:
    """End the job with success. folder: the service's data directory, for the exports."""
    for name, content in (exports or {}).items():
        assert folder is not None
        path = folder / "jobs" / named(job) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    held = claim(store, f"finish:{named(job)}")
    store.end_job(held, named(job), JobState.succeeded, error=None, exports=list(exports or {}))


def run(store: Store, job: str, *, chunks: int = 1) -> None:
    """The whole job."""
    plan(store, job, chunks=chunks)
    for chunk in range(chunks):
        work_chunk(store, job, chunk)
    finish(store, job)
