"""What a worker process holds: opened at boot, after Dramatiq has forked, closed at shutdown."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from dramatiq.middleware import Middleware

from cvpipe import log
from cvpipe.broker import QUEUE_PREFIX, Bell, make_broker
from cvpipe.errors import CvpipeError
from cvpipe.settings import Settings
from cvpipe.store import Store, WorkerState
from cvpipe.work import Bench

_BEAT_SECONDS: Final = 10.0
_KEEP_SECONDS: Final = 35.0
_UNAVAILABLE: Final = 3  # the exit code of `cvpipe worker` for the same


class WorkerResources(Middleware):
    """Opens a `Bench` at boot; tells its tasks to stop at shutdown: they hand back what they hold within a second."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bench: Bench | None = None
        self._ended = threading.Event()
        self._teller: threading.Thread | None = None

    @property
    def bench(self) -> Bench:
        """This process's bench."""
        if self._bench is None:
            raise RuntimeError("the worker has not booted: actors run in `cvpipe worker` or `dramatiq actors`")
        return self._bench

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        """Open the store and a bell of our own.

        Dramatiq logs what a middleware raises and goes on: a worker that can do nothing would swallow every message. So
        it ends here, and whoever runs it starts it again.
        """
        log.configure(self._settings.log_level)
        try:
            self._bench = open_bench(self._settings)
        except CvpipeError as error:
            logging.getLogger(__name__).critical("the worker can't start: %s", error)
            os._exit(_UNAVAILABLE)
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        names = sorted(name.removeprefix(QUEUE_PREFIX) for name in queues)
        self._teller = threading.Thread(
            target=self._tell, args=(self._bench, names, worker.worker_threads), name="signs of life", daemon=True
        )
        self._teller.start()

    def before_worker_shutdown(self, _broker: Any, _worker: Any) -> None:
        """Running tasks checkpoint and go back to the store."""
        self.bench.stopping.set()

    def after_worker_shutdown(self, _broker: Any, _worker: Any) -> None:
        """Close everything."""
        self._ended.set()
        if self._teller is not None:
            self._teller.join(2)
        self.bench.hand_back()
        self.bench.close()

    def _tell(self, bench: Bench, queues: Sequence[str], threads: int) -> None:
        """Tell the store that we live, which queues we serve, and what protects our decoders, until we end."""
        name = f"{socket.gethostname()}:{os.getpid()}"
        pause = 1.0  # the decoders are started a moment after us; later ones are told with the next sign
        while not self._ended.wait(pause):
            with suppress(CvpipeError, RuntimeError):  # the store is away, or the decoders were closed just now
                state = WorkerState(name, queues, bench.protection, bench.engine, threads)
                bench.store.put_worker(state, keep_seconds=_KEEP_SECONDS)
            pause = min(2 * pause, _BEAT_SECONDS)
        with suppress(CvpipeError, RuntimeError):
            bench.store.remove_worker(name)


def open_bench(settings: Settings) -> Bench:
    """Everything a worker or a sweeper needs. Raises: StoreUnavailable."""
    url = settings.redis_url or "redis://127.0.0.1:6379/0"
    bell = Bell(make_broker(broker_url=settings.broker_url, redis_url=url))
    return Bench(settings=settings, store=Store.connect(url), bell=bell)
