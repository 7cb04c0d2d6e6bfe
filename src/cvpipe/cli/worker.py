"""`cvpipe worker`: the actors of some queues, in this process."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from cvpipe.cli import extras
from cvpipe.cli.doors import check_data_dir, check_doors
from cvpipe.cli.exits import ExitCode
from cvpipe.cli.options import Decode, Threads, load_settings
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cvpipe.work import Bench

_log = logging.getLogger(__name__)

_STOP_MS = 1200  # running tasks hand back what they hold within half a second; of those that do not, it is taken then
_IDLE_MS = 250  # how long an idle thread sleeps at most, and so how long a stop takes at least


def worker(
    queues: Annotated[
        str | None,
        typer.Option("--queues", "-q", help="Names of queues, separated by commas: `cpu,gpu`. Default: all there are."),
    ] = None,
    threads: Threads = None,
    decode: Decode = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also do what `cvpipe sweep` does, in this process.")] = False,
) -> ExitCode:
    """Work on the tasks of some queues: one process, several threads; SIGTERM hands back what is not finished.

    The store and the broker are where CVPIPE_REDIS_URL and CVPIPE_BROKER_URL say.
    """
    extras.require("worker", what="cvpipe worker")
    from cvpipe.stages import discover

    settings = load_settings(threads=threads, decode=decode)
    discover()  # a stage file that is broken is told now, not in the middle of a job
    if queues != "notify":  # which reads and writes no files
        check_data_dir(settings)
    check_doors(settings)
    count = settings.threads or len(os.sched_getaffinity(0))
    os.environ["CVPIPE_THREADS"] = str(count)  # `actors` reads the environment, like any other entry point
    os.environ["CVPIPE_DECODE"] = settings.decode
    # Parallelism is ours, by chunks: a pool of threads inside each of them would only get in the way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from cvpipe.broker import DEFAULT_QUEUES

    every = [*DEFAULT_QUEUES, *settings.extra_queues.split()]
    return _serve(every if queues is None else queues.replace(",", " ").split(), count, sweep=sweep)


def _serve(queues: Sequence[str], threads: int, *, sweep: bool) -> ExitCode:
    from dramatiq.worker import ConsumerThread, Worker, WorkerThread

    import actors
    from cvpipe import work
    from cvpipe.broker import QUEUE_PREFIX, queue_name
    from cvpipe.embedded.processes import say_ready

    wanted = {queue_name(name) for name in queues}
    declared = actors.broker.get_declared_queues()
    if unknown := sorted(wanted - declared):
        there_is = ", ".join(sorted(name.removeprefix(QUEUE_PREFIX) for name in declared))
        names = ", ".join(name.removeprefix(QUEUE_PREFIX) for name in unknown)
        message = f"there is no queue {names}; there is {there_is} (CVPIPE_EXTRA_QUEUES names more)"
        raise InvalidRequest(message, field="--queues")
    stop = threading.Event()
    code = ExitCode.ok

    def ask_to_stop(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(ExitCode.interrupted)  # the store takes the tasks back when their leases end
        stop.set()

    def sweep_until_the_end() -> None:
        nonlocal code
        code = ExitCode.internal  # a sweeper that fails ends the worker: whoever started it starts it again
        try:
            work.sweep(actors.resources.bench)
            code = ExitCode.ok
        finally:
            stop.set()

    def end_with_a_thread(died: threading.ExceptHookArgs) -> None:
        nonlocal code
        if isinstance(died.thread, ConsumerThread | WorkerThread):
            code = ExitCode.internal
            _log.critical("the worker ends: one of its threads has died", exc_info=died.exc_value)
            stop.set()  # it would live on and take nothing; whoever started it starts it again
        else:
            threading.__excepthook__(died)

    threading.excepthook = end_with_a_thread
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    running = Worker(actors.broker, queues=wanted, worker_timeout=_IDLE_MS, worker_threads=threads)
    running.start()
    sweeper = threading.Thread(target=sweep_until_the_end, name="sweeper", daemon=True) if sweep else None
    try:
        _warm_up(actors.resources.bench, queues)
        if sweeper is not None:
            sweeper.start()
        say_ready()
        stop.wait()
    finally:
        actors.resources.bench.stopping.set()  # running tasks hand back what they hold; the sweeper ends
        if sweeper is not None and sweeper.is_alive():
            sweeper.join(_STOP_MS / 1000)
        running.stop(timeout=_STOP_MS)
        actors.broker.close()
    return code


def _warm_up(bench: Bench, queues: Sequence[str]) -> None:
    """Open what the first task would wait for (0.4 s). Raises: DeviceUnavailable, now and not in a job."""
    if set(queues) - {"sequence", "finish", "notify", "external"}:
        _ = bench.decoders
    if set(queues) - {"ingest", "media", "sequence", "finish", "notify", "external"}:
        _ = bench.tools.cv2
