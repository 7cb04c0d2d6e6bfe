"""Clients of the service, as users write them: submit, sometimes cancel, follow, repair what was given up."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any

from cvpipe import Client
from cvpipe.errors import ApiError, CvpipeError, Unavailable, WaitTimeout
from cvpipe.job import Job, JobState
from tests.chaos.cluster import Cluster
from tests.chaos.history import History
from tests.chaos.receiver import Receiver
from tests.chaos.recipes import Recipe

_CANCELED = 0.05
_PAUSED = 0.05
_FOLLOWED_LIVE = 0.2
_RETRY_SECONDS = 0.5
_LOOK_SECONDS = 20.0
_LIVE_SECONDS = 20.0
_NOT_NOW = (429, 502, 503, 504, 507)


def is_passing(error: CvpipeError) -> bool:
    """It says "not now": no answer, or one that says so. Whether the request had an effect is not known."""
    if isinstance(error, ApiError):
        return error.status in _NOT_NOW
    return isinstance(error, Unavailable | WaitTimeout)


def was_given_up(job: Job) -> bool:
    """All or a part of a job that is over was given up."""
    return job.state.is_final and (job.state is JobState.failed or job.progress.chunks_failed > 0)


def try_again(client: Client, job: Job) -> Job:
    """What a user does then."""
    return client.retry(job.id) if job.state is JobState.failed else client.repair(job.id)


class Clients:
    """Some clients, each with one job at a time, until told to stop; then they see theirs to the end."""

    def __init__(
        self, cluster: Cluster, history: History, receiver: Receiver, recipes: Sequence[Recipe],
        videos: Mapping[str, str], *, seed: int, count: int,
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._history = history
        self._receiver = receiver
        self._recipes = recipes
        self._videos = videos
        self._seed = seed
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._give_up_at = float("inf")
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._work, args=(n,), name=f"client-{n}", daemon=True) for n in range(count)
        ]

    def start(self) -> None:
        """Begin to submit."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, patience_seconds: float) -> None:
        """Submit nothing new; returns when all have been told of their job's end, or after so long."""
        self._give_up_at = time.monotonic() + patience_seconds
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        who, rng = f"client-{number}", Random(f"{self._seed} client {number}")
        with self._cluster.client() as client:
            while not self._stopping.is_set():
                (recipe,) = rng.choices(self._recipes, [recipe.weight for recipe in self._recipes])
                try:
                    _Errand(self, client, who, recipe, next(self._numbers), rng).run()
                except CvpipeError as error:
                    self.wrong.append(f"{who}: {type(error).__name__}: {error}")

    @property
    def has_time(self) -> bool:
        """There is still time to wait for an answer."""
        return time.monotonic() < self._give_up_at


class _Errand:
    """One job of one client."""

    def __init__(self, clients: Clients, client: Client, who: str, recipe: Recipe, number: int, rng: Random) -> None:
        self._all, self._client, self._who, self._recipe, self._rng = clients, client, who, recipe, rng
        self._number = number
        self._history = clients._history

    def run(self) -> None:
        """Submit and follow. A job that is gone, because the store went back, is submitted again."""
        job = self._submit()
        while job is not None:
            try:
                self._follow(job)
                return
            except ApiError as error:
                if error.code != "not_found":
                    raise
            self._history.add(self._who, "note", gone=job.id, number=self._number)
            job = self._submit()

    def _submit(self) -> Job | None:
        recipe = self._recipe
        self._history.add(self._who, "submitting", number=self._number, recipe=recipe.name)
        while self._all.has_time:
            try:
                job = self._client.submit(
                    recipe.pipeline,
                    video=self._all._videos[recipe.video],
                    chunk_seconds=recipe.chunk_seconds,
                    annotate=recipe.annotate,
                    labels={"number": str(self._number), "recipe": recipe.name},
                    webhook={"url": self._all._receiver.url, "secret": self._all._receiver.secret},
                    idempotency_key=f"chaos-{self._all._seed}-{self._number}",
                    priority=self._number % 10,
                )
            except CvpipeError as error:
                if not is_passing(error):
                    raise
                self._history.add(self._who, "refused", number=self._number, error=str(error)[:200])
                time.sleep(_RETRY_SECONDS)
                continue
            self._history.add(self._who, "accepted", number=self._number, job=job.id, recipe=recipe.name)
            return job
        return None

    def _follow(self, job: Job) -> None:
        began, whim = time.time(), self._rng.random()
        if whim < _CANCELED:
            time.sleep(self._rng.uniform(0, 2))
            self._history.add(self._who, "canceling", job=job.id)
            self._persist(lambda: self._client.cancel(job.id))
        elif whim < _CANCELED + _PAUSED:
            self._pause(job)
        live = _Live(self._all._cluster, job) if self._rng.random() < _FOLLOWED_LIVE else None
        while self._all.has_time:
            done = self._persist(lambda: self._client.wait(job.id, timeout_seconds=_LOOK_SECONDS))
            if done is None:
                self._wake(job)
                continue
            facts = {} if live is None else {"live": live.digest(), "began": began}
            self._history.add(self._who, "told", job=job.id, state=done.state.value, **facts)
            if not was_given_up(done):
                return
            live = None
            self._history.add(self._who, "note", job=job.id, given_up=str(done.error))
            self._persist(partial(try_again, self._client, done))

    def _pause(self, job: Job) -> None:
        """Have it rest for a moment, if it is not over yet."""
        time.sleep(self._rng.uniform(0, 2))
        self._history.add(self._who, "note", job=job.id, pausing=True)
        self._persist(lambda: self._client.pause(job.id))
        time.sleep(self._rng.uniform(0, 3))
        while self._all.has_time:
            self._persist(lambda: self._client.resume(job.id))
            now = self._persist(lambda: self._client.job(job.id))
            if now is not None and now.state is not JobState.paused:
                return

    def _wake(self, job: Job) -> None:
        """Resume a job that rests again: a pause was heard late, or the store went back to when it was paused."""
        now = self._persist(lambda: self._client.job(job.id))
        if now is not None and now.state is JobState.paused:
            self._persist(lambda: self._client.resume(job.id))

    def _persist(self, ask: Any) -> Job | None:
        """Ask until there is an answer; None where there is none in time, or where it is too late."""
        try:
            return ask()
        except CvpipeError as error:
            if not is_passing(error) and not (isinstance(error, ApiError) and error.code == "conflict"):
                raise
            time.sleep(_RETRY_SECONDS)
            return None


class _Live:
    """Follows the records of a job while it runs, in a thread of its own."""

    def __init__(self, cluster: Cluster, job: Job) -> None:
        self._cluster, self._job = cluster, job
        self._digest: str | None = None
        self._thread = threading.Thread(target=self._follow, name=f"live {job.id}", daemon=True)
        self._thread.start()

    def digest(self) -> str | None:
        """Of the records as they came, once the job is over; None where the connection was away for too long."""
        self._thread.join(_LIVE_SECONDS)
        return self._digest

    def _follow(self) -> None:
        digest = sha256()
        with suppress(CvpipeError), self._cluster.client() as client:
            for record in client.frames(self._job.id):
                digest.update(record.to_json().encode() + b"\n")
            self._digest = digest.hexdigest()
