"""Processes that die or freeze. Only ones that this run has started: members of the cluster, and their descendants."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from tests.chaos.cluster import LEASE_SECONDS, Member, descendants
from tests.chaos.faults import Fault, Scene

_BOOT_SECONDS = 10.0
_LOOK_SECONDS = 0.05


@contextmanager
def _kill_worker(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    worker = _at_work(scene, rng)
    worker.kill_alone()
    yield {"of": worker.name}


@contextmanager
def _kill_all_workers(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    for worker in scene.cluster.workers:
        worker.kill_alone()
    yield {"of": "all workers"}


@contextmanager
def _kill_sweeper(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    scene.cluster.sweeper.kill_alone()
    yield {}


@contextmanager
def _kill_api(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    scene.cluster.api.kill_alone()
    yield {}


@contextmanager
def _kill_decoders(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    worker = _at_work(scene, rng)
    found = _signal_decoders(worker, signal.SIGKILL)
    yield {"of": worker.name, "processes": found}


@contextmanager
def _freeze_worker(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """Past its lease, with all that it has started; when it wakes up, its token is gone."""
    worker = _at_work(scene, rng)
    with worker.lock:
        pid = worker.pid if worker.is_running else None
        if pid is not None:
            os.killpg(pid, signal.SIGSTOP)
    try:
        yield {"of": worker.name}
    finally:
        with worker.lock:
            if pid is not None and worker.is_running and worker.pid == pid:
                os.killpg(pid, signal.SIGCONT)


@contextmanager
def _freeze_decoders(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    worker = _at_work(scene, rng)
    found = _signal_decoders(worker, signal.SIGSTOP)
    try:
        yield {"of": worker.name, "processes": found}
    finally:
        _signal_decoders(worker, signal.SIGCONT)


def _at_work(scene: Scene, rng: Random) -> Member:
    """A worker that has started its decoders; where there is none after a while, any."""
    workers = rng.sample(scene.cluster.workers, len(scene.cluster.workers))
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline:
        for worker in workers:
            if worker.decoders():
                return worker
        time.sleep(_LOOK_SECONDS)
    return workers[0]


def _signal_decoders(worker: Member, number: signal.Signals) -> int:
    """Returns how many there were. By pidfd, looked at twice: a pid alone may be another process by now."""
    told = 0
    with worker.lock:
        if not worker.is_running:
            return 0
        for pid in worker.decoders():
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    if pid in descendants(worker.pid):
                        signal.pidfd_send_signal(pidfd, number)
                        told += 1
                finally:
                    os.close(pidfd)
    return told


_PAST_LEASE = (LEASE_SECONDS + 1.0, LEASE_SECONDS + 4.0)

FAULTS = (
    Fault("kill worker", "kills", 14, (0, 0), _kill_worker),
    Fault("kill all workers", "kills", 0.5, (0, 0), _kill_all_workers),
    Fault("kill decoders", "kills", 2.5, (0, 0), _kill_decoders),
    Fault("kill sweeper", "kills", 1.5, (0, 0), _kill_sweeper),
    Fault("kill API", "kills", 1.5, (0, 0), _kill_api),
    Fault("freeze worker", "freezes", 3, _PAST_LEASE, _freeze_worker),
    Fault("freeze decoders", "freezes", 1, _PAST_LEASE, _freeze_decoders),
)
