"""How long work stands still after a single fault.

Each worker has one job of a single chunk to itself, so that a job's progress is a worker's. After a fault, each job
that was running must show progress again; the time until the last of them does is the fault's. The next fault waits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from cvpipe.errors import CvpipeError
from cvpipe.job import Job
from cvpipe.tenants import DEFAULT, owned
from tests.chaos.clients import is_passing
from tests.chaos.faults import Fault, Scene
from tests.chaos.recipes import LONG
from tests.chaos.run import Laboratory

_LOOK_SECONDS = 0.1
_GIVE_UP_SECONDS = 60.0
_CALM_SECONDS = 1.0
_ON_ITS_WAY = 0.3  # what was sent before a process froze may arrive so much later
_LEAST_LEFT = 0.35


def measure(laboratory: Laboratory, faults: Sequence[Fault], times: int) -> list[tuple[str, float]]:
    """Seconds until work goes on, by kind of fault; infinite where it did not within a minute.

    From the fault's end on, which for a kill is its begin; for what is frozen, from its begin.
    """
    rng = Random(f"{laboratory.seed} recovery")
    scene = Scene(laboratory.cluster, laboratory.history)
    found = []
    watch = _Watch(laboratory)
    for number in range(times):
        fault = faults[number % len(faults)]
        watch.top_up()
        hold, began_at = rng.uniform(*fault.hold_seconds), time.time()
        with fault.act(scene, rng) as facts:
            laboratory.history.add("nemesis", "began", fault=fault.kind, **facts)
            time.sleep(hold)
        laboratory.history.add("nemesis", "healed", fault=fault.kind, **facts)
        # What is frozen must be taken over while it is, and not when it wakes up.
        seconds = watch.until_all_move(began_at + _ON_ITS_WAY if fault.hand == "freezes" else time.time())
        found.append((fault.kind, seconds))
        laboratory.say(f"{fault.kind}: work went on after {seconds:.1f} s")
    watch.end()
    return found


class _Watch:
    """Keeps a job for each worker running, and looks at their events in the store."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._jobs: list[Job] = []
        self._count = len(laboratory.cluster.workers)
        self._video = laboratory.upload(LONG.video)

    def top_up(self) -> None:
        """Replace jobs that are over, or soon will be; returns when all are in work."""
        with self._laboratory.cluster.client() as client:
            while True:
                try:
                    self._jobs = [client.job(job.id) for job in self._jobs]
                    for job in [job for job in self._jobs if 1 - job.progress.fraction < _LEAST_LEFT]:
                        self._jobs.remove(job)
                    while len(self._jobs) < self._count:
                        self._jobs.append(
                            client.submit(
                                LONG.pipeline, video=self._video, chunk_seconds=LONG.chunk_seconds
                            )
                        )  # fmt: skip
                except CvpipeError as error:
                    if not is_passing(error):
                        raise
                else:
                    if all(job.progress.frames_done for job in self._jobs):
                        break
                time.sleep(_LOOK_SECONDS)
        time.sleep(_CALM_SECONDS)

    def until_all_move(self, since: float) -> float:
        """Seconds from then until each job that was running has made a step: the store's own time of that step."""
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        waiting = {job.id for job in self._jobs}
        moved = [0.0]
        with self._laboratory.cluster.store() as store:
            while waiting and time.monotonic() < deadline:
                for job in list(waiting):
                    events = store.events(owned(DEFAULT, job), after=f"{int(since * 1000)}-0", limit=1)
                    over = store.job(owned(DEFAULT, job)).state.is_final
                    if events:
                        moved.append(float(events[0][1]["at"]) - since)
                    if events or over:
                        waiting.discard(job)
                time.sleep(_LOOK_SECONDS)
        return max(moved) if not waiting else float("inf")

    def end(self) -> None:
        """Cancel what is left."""
        with self._laboratory.cluster.client() as client:
            for job in self._jobs:
                client.cancel(job.id)


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all is not above."""
    ordered = sorted(seconds)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]
