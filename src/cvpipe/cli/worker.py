"""`cvpipe worker`: the actors of some queues, in this process."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from cvpipe.cli import extras
from cvpipe.cli.doors import ping_store
from cvpipe.cli.options import Threads, load_settings
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

_STOP_MS = 4000  # running tasks hand back what they hold within a second
_IDLE_MS = 1000


def worker(
    queues: Annotated[str, typer.Option("--queues", "-q", help="Names of queues, separated by commas: `cpu,gpu`.")],
    threads: Threads = None,
) -> None:
    """Work on the tasks of some queues: one process, several threads; SIGTERM hands back what is not finished.

    The store and the broker are where CVPIPE_REDIS_URL and CVPIPE_BROKER_URL say.
    """
    extras.require("worker", what="cvpipe worker")
    settings = load_settings(threads=threads)
    count = settings.threads or len(os.sched_getaffinity(0))
    os.environ["CVPIPE_THREADS"] = str(count)  # `actors` reads the environment, like any other entry point
    # Parallelism is ours, by chunks: a pool of threads inside each of them would only get in the way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    ping_store(settings)
    _serve([name for name in queues.replace(",", " ").split() if name], count)


def _serve(queues: Sequence[str], threads: int) -> None:
    from dramatiq.worker import Worker

    import actors
    from cvpipe.broker import queue_name
    from cvpipe.embedded.processes import say_ready

    wanted = {queue_name(name) for name in queues}
    declared = actors.broker.get_declared_queues()
    if unknown := sorted(wanted - declared):
        raise InvalidRequest(f"no queue {', '.join(unknown)}; there is {', '.join(sorted(declared))}", field="--queues")
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(130)  # the second time: at once; the store takes the tasks back when their leases end
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    running = Worker(actors.broker, queues=wanted, worker_timeout=_IDLE_MS, worker_threads=threads)
    running.start()
    say_ready()
    stop.wait()
    running.stop(timeout=_STOP_MS)
    actors.broker.close()
