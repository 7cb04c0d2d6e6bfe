"""What there is at the end: every job with its records, events and files, as the service tells it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av

from cvpipe import Client
from cvpipe.errors import ApiError, CvpipeError
from cvpipe.job import Job, JobState
from cvpipe.tenants import DEFAULT, owned
from tests.chaos.clients import is_passing, try_again, was_given_up
from tests.chaos.cluster import Cluster
from tests.chaos.recipes import Recipe

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Truth:
    """What a run without faults gives. records: one line of JSON each, in order. files: digests by name."""

    state: str
    records: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A job at the end of a run. events: all of them, as the store has them."""

    job: Job
    records: tuple[str, ...]
    files: Mapping[str, str]
    events: Sequence[Mapping[str, Any]]

    @property
    def number(self) -> int:
        """Of the client's errand that it comes from."""
        return int(self.job.labels["number"])

    @property
    def recipe(self) -> str:
        """Name of its recipe."""
        return self.job.labels["recipe"]


def run_without_faults(cluster: Cluster, recipes: Sequence[Recipe], videos: Mapping[str, str]) -> dict[str, Truth]:
    """Every recipe once, before the nemesis comes; by name."""
    truths = {}
    with cluster.client(60) as client:
        for recipe in recipes:
            job = client.submit(
                recipe.pipeline, video=videos[recipe.video], chunk_seconds=recipe.chunk_seconds,
                annotate=recipe.annotate, labels={"recipe": recipe.name},
            )  # fmt: skip
            done = client.wait(job.id, timeout_seconds=120)
            truths[recipe.name] = Truth(done.state.value, _records(client, done), _files(client, done))
            if len(truths[recipe.name].records) != recipe.frames or done.progress.chunks_failed:
                raise RuntimeError(f"without a fault, {recipe.name} ended {done.state}: {done.error}")
    return truths


def await_rest(cluster: Cluster, *, patience_seconds: float) -> None:
    """Wait until no job is open; repair those of which something was given up. Returns after so long in any case."""
    deadline = time.monotonic() + patience_seconds
    with cluster.client(60) as client:
        while time.monotonic() < deadline:
            try:
                jobs = list(client.jobs())
                for job in jobs:
                    if job.state is JobState.paused:
                        client.resume(job.id)
                    if was_given_up(job):
                        try_again(client, job)
            except CvpipeError as error:
                # Somebody else, or an earlier request of which no answer came, was first.
                if not is_passing(error) and not (isinstance(error, ApiError) and error.code == "conflict"):
                    raise
            else:
                if all(job.state.is_final and not was_given_up(job) for job in jobs):
                    return
            time.sleep(_LOOK_SECONDS)


def collect(cluster: Cluster) -> list[Evidence]:
    """Everything about every job that a client's errand has made."""
    found = []
    with cluster.client(60) as client, cluster.store() as store:
        for job in client.jobs():
            if "number" not in job.labels:
                continue
            events: list[dict[str, Any]] = []
            after = "0"
            while page := store.events(owned(DEFAULT, job.id), after=after):
                events += [event for _, event in page]
                after = page[-1][0]
            found.append(Evidence(client.job(job.id), _records(client, job), _files(client, job), events))
    return found


def _records(client: Client, job: Job) -> tuple[str, ...]:
    return tuple(record.to_json() for record in client.frames(job.id)) if job.state.is_final else ()


def _files(client: Client, job: Job) -> dict[str, str]:
    with TemporaryDirectory() as folder:
        return {name: digest_of(client.download(job.id, name, Path(folder) / name)) for name in job.exports}


def digest_of(file: Path) -> str:
    """sha256 of a file; of a video, of its frames' times: its encoder's threads make other bits each time."""
    if file.suffix != ".mp4":
        return sha256(file.read_bytes()).hexdigest()
    with av.open(str(file)) as video:
        return sha256(repr([frame.pts for frame in video.decode(video=0)]).encode()).hexdigest()
