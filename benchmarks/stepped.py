"""Workers on a Redis of the benchmark's own: one in this process, stepped job by job, or real ones beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from cvpipe.broker import Bell, make_broker
from cvpipe.job import Job, JobRequest
from cvpipe.keys import ANYBODY
from cvpipe.lifecycle import Lifecycle
from cvpipe.settings import Settings
from cvpipe.store import Ring, Store
from cvpipe.tenants import DEFAULT, owned
from cvpipe.work import Bench, finish, ingest, work
from tests.servers import RedisServer

_DO = {"ingest": ingest, "chunk": work, "finish": finish}


class _Bell:
    """Keeps the tasks that are rung for."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def ring(self, rings: Iterable[Ring]) -> None:
        self.tasks += [ring.task for ring in rings]

    def close(self) -> None:
        """Nothing to close."""


@contextmanager
def redis_in(folder: Path) -> Iterator[str]:
    """The address of a Redis that lasts as long as the block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


class Stepped:
    """A worker in this process: a few threads that do one job's tasks after another's."""

    def __init__(self, settings: Settings, threads: int) -> None:
        self._bell = _Bell()
        self.store = Store.connect(str(settings.redis_url))
        self._bench = Bench(settings, self.store, cast("Any", self._bell))
        self._lifecycle = Lifecycle(self.store, cast("Any", self._bell), settings)
        self._pool = ThreadPoolExecutor(threads)

    def run(self, request: dict[str, Any]) -> Job:
        """A whole job. Raises: AssertionError where it did not succeed."""
        job, _ = self._lifecycle.submit(JobRequest.model_validate(request), by=ANYBODY)
        while self._bell.tasks:
            tasks, self._bell.tasks = self._bell.tasks, []
            list(self._pool.map(lambda task: _DO[task.partition(":")[0]](self._bench, task), tasks))
        done = self.store.job(owned(DEFAULT, job.id))
        assert done.state == "succeeded", done
        return done

    def close(self) -> None:
        """End it."""
        self._pool.shutdown()
        self._bench.close()


@contextmanager
def workers(
    settings: Settings, number: int, *, threads: int, cores: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """So many real workers, each with so many threads; their process ids. cores: one for each, with its decoders."""
    env = {**os.environ, **{f"CVPIPE_{name.upper()}": str(value) for name, value in _given(settings).items()}}
    command = [sys.executable, "-m", "cvpipe", "worker", "-q", "ingest,cpu,gpu,sequence,finish", "--threads"]
    running = [
        subprocess.Popen([*command, str(threads), "--sweep"], env=env, stdout=subprocess.DEVNULL) for _ in range(number)
    ]
    for process, core in zip(running, cores or (), strict=False):
        os.sched_setaffinity(process.pid, {core})
    store = Store.connect(str(settings.redis_url))
    try:
        for _ in range(600):
            if len(store.workers()) >= number:
                break
            time.sleep(0.1)
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
        for worker in store.workers():
            store.remove_worker(worker.name)
        store.close()


def submitted(settings: Settings, request: dict[str, Any]) -> tuple[Job, float]:
    """A job that workers do, and the seconds that it took."""
    store = Store.connect(str(settings.redis_url))
    bell = Bell(make_broker(broker_url=None, redis_url=str(settings.redis_url)))
    started = time.perf_counter()
    job, _ = Lifecycle(store, bell, settings).submit(JobRequest.model_validate(request), by=ANYBODY)
    while not (job := store.job(owned(DEFAULT, job.id))).state.is_final:
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    assert job.state == "succeeded", job
    bell.close()
    store.close()
    return job, seconds


def resident_mib(pid: int | str = "self") -> float:
    """Memory of a process that is its own: what it shares with decoders is theirs."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssFile"))}
    return (sizes["RssAnon"] + sizes["RssFile"]) / 1024


def _given(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.model_fields_set}
