"""What a worker process holds: opened at boot, after Dramatiq has forked, closed at shutdown."""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from dramatiq.middleware import Middleware

from cvpipe import log
from cvpipe.broker import Bell, make_broker
from cvpipe.errors import CvpipeError
from cvpipe.settings import Settings
from cvpipe.store import Store
from cvpipe.work import Bench

_UNAVAILABLE: Final = 3  # the exit code of `cvpipe worker` for the same


class WorkerResources(Middleware):
    """Opens a `Bench` at boot; tells its tasks to stop at shutdown: they hand back what they hold within a second."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bench: Bench | None = None

    @property
    def bench(self) -> Bench:
        """This process's bench."""
        if self._bench is None:
            raise RuntimeError("the worker has not booted: actors run in `cvpipe worker` or `dramatiq actors`")
        return self._bench

    def before_worker_boot(self, _broker: Any, _worker: Any) -> None:
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

    def before_worker_shutdown(self, _broker: Any, _worker: Any) -> None:
        """Running tasks checkpoint and go back to the store."""
        self.bench.stopping.set()

    def after_worker_shutdown(self, _broker: Any, _worker: Any) -> None:
        """Close everything."""
        self.bench.close()


def open_bench(settings: Settings) -> Bench:
    """Everything a worker or a sweeper needs. Raises: StoreUnavailable."""
    url = settings.redis_url or "redis://127.0.0.1:6379/0"
    bell = Bell(make_broker(broker_url=settings.broker_url, redis_url=url))
    return Bench(settings=settings, store=Store.connect(url), bell=bell)
