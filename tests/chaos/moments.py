"""Kills at the moment when something was told: right after a 202, right after an end. What was told must stay so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import TypeVar

from cvpipe import Client
from cvpipe.errors import CvpipeError
from cvpipe.job import Job
from tests.chaos.clients import is_passing, try_again, was_given_up
from tests.chaos.cluster import Cluster
from tests.chaos.recipes import RECIPES
from tests.chaos.run import Laboratory

T = TypeVar("T")

_RECIPE = next(recipe for recipe in RECIPES if recipe.name == "damaged")
_RETRY_SECONDS = 0.2
_PATIENCE_SECONDS = 120.0
_TELL_EVERY = 20


def kill_after_accept(laboratory: Laboratory, times: int) -> list[str]:
    """Submit, and kill at the 202; returns what became of jobs that are gone, or do not end as they must."""
    kills = _kills(laboratory.cluster, Random(f"{laboratory.seed} accept"))
    accepted = []
    for number in range(times):
        with laboratory.cluster.client() as client:
            job = _submit(laboratory, client, f"accept-{number}")
        what = next(kills)
        laboratory.history.add("moments", "accepted", number=number, job=job.id, killed=what)
        accepted.append(job)
        if (number + 1) % _TELL_EVERY == 0:
            laboratory.say(f"killed after {number + 1} of {times} were accepted")
    laboratory.cluster.await_ready()
    with laboratory.cluster.client() as client:
        return [text for job in accepted for text in _how_it_ended(laboratory, client, job)]


def kill_after_done(laboratory: Laboratory, times: int) -> list[str]:
    """Follow a job to its end, and kill when that is told; returns which ends were taken back."""
    kills = _kills(laboratory.cluster, Random(f"{laboratory.seed} done"))
    told = []
    for number in range(times):
        with laboratory.cluster.client() as client:
            job = _submit(laboratory, client, f"done-{number}")
            done = _wait(client, job)
        what = next(kills)
        laboratory.history.add("moments", "told", job=job.id, state=done.state.value, killed=what)
        told.append(done)
        if (number + 1) % _TELL_EVERY == 0:
            laboratory.say(f"killed after {number + 1} of {times} were over")
    laboratory.cluster.await_ready()
    wrong = []
    with laboratory.cluster.client() as client:
        for before in told:
            now = _insist(partial(client.job, before.id))
            wrong += _how_it_ended(laboratory, client, before)
            if (now.state, now.finished_at, now.repairs) != (before.state, before.finished_at, 0):
                wrong.append(f"job {before.id} was {before.state} at {before.finished_at}; it is {now.state}")
    return wrong


def _how_it_ended(laboratory: Laboratory, client: Client, job: Job) -> list[str]:
    """What is wrong with a job's end and records. A chunk that three kills have met is given up, and repaired first."""
    truth = laboratory.truths[_RECIPE.name]
    try:
        done = _wait(client, job)
        if was_given_up(done):
            laboratory.say(f"job {job.id} is begun again: {done.error}")
            done = _wait(client, _insist(partial(try_again, client, done)))
        records = tuple(record.to_json() for record in client.frames(job.id))
    except CvpipeError as error:
        return [f"job {job.id}: {error}"]
    if done.state != truth.state:
        return [f"job {job.id} ended {done.state}: {done.error}"]
    return [] if records == truth.records else [f"job {job.id} has other records than a run without faults"]


def _kills(cluster: Cluster, rng: Random) -> Iterator[str]:
    """Each kills something when it is asked for, and tells what."""
    while True:
        what = rng.choices(["Redis", "API", "workers", "everything"], [5, 3, 2, 1])[0]
        if what in ("Redis", "everything"):
            cluster.redis.kill()
        if what in ("API", "everything"):
            cluster.api.kill_alone()
        if what in ("workers", "everything"):
            for worker in cluster.workers:
                worker.kill_alone()
        if what == "everything":
            cluster.rabbitmq.restart()
        if what in ("Redis", "everything"):
            cluster.redis.start()
        yield what


def _submit(laboratory: Laboratory, client: Client, key: str) -> Job:
    return _insist(
        lambda: client.submit(
            _RECIPE.pipeline,
            video=laboratory.videos[_RECIPE.video],
            chunk_seconds=_RECIPE.chunk_seconds,
            idempotency_key=f"{laboratory.seed}-{key}",
        )
    )


def _wait(client: Client, job: Job) -> Job:
    return _insist(lambda: client.wait(job.id, timeout_seconds=_PATIENCE_SECONDS))


def _insist(ask: Callable[[], T]) -> T:
    """Ask until there is an answer. Raises: CvpipeError for a refusal, or where no answer comes for too long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except CvpipeError as error:
            if not is_passing(error) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
