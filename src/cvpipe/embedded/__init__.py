"""The whole service on one machine, with one command: store, API and workers as supervised children.

Nothing of it needs the internet, a server or root. What ends the parent ends the children: Ctrl-C in order, `kill -9`
through the kernel; what outlives even that is ended by the next start on the same data directory. Linux only, like the
workers.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cvpipe.embedded.datalock import DataLock
from cvpipe.embedded.processes import Command
from cvpipe.embedded.signals import Signals, StopRequested
from cvpipe.embedded.stores import FakeStore, SocketStore, StoreKind, find_server
from cvpipe.embedded.supervisor import Say, Supervisor
from cvpipe.errors import Conflict, InvalidRequest
from cvpipe.keys import keys_are_needed
from cvpipe.loopback import is_loopback_host
from cvpipe.settings import Settings

__all__ = ["Running", "run_service"]

COMPUTE_QUEUES: Final = ("cpu", "gpu", "crops")
FLOW_QUEUES: Final = ("ingest", "sequence", "finish")
NOTIFY_QUEUES: Final = ("notify", "external")
MEDIA_QUEUES: Final = ("media",)
_FLOW_THREADS: Final = 4  # they wait for the store and for decoders, they hardly compute
_NOTIFY_THREADS: Final = 8  # they wait for servers outside, for some of them long: a process of their own
_MEDIA_THREADS: Final = 2  # somebody is waiting for a picture: never behind chunks
_STORE_SECONDS: Final = 300.0  # a store that reads a large file is slow, not broken
_READY_SECONDS: Final = 180.0  # a child that ends is told at once; one that takes long has a busy machine
_STOP_ORDER: Final = (("compute", "flow", "notify", "media"), ("api",), ("store",))


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is up and takes jobs.

    children: process id by name. durable: jobs survive a restart; None where the store is not ours to know.
    needs_keys: requests must bring a key. admin_key: the first one, on a store that has had none; told this once.
    """

    url: str
    data_dir: Path
    store: StoreKind
    store_url: str
    durable: bool | None
    threads: int
    children: dict[str, int]
    needs_keys: bool = False
    admin_key: str | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "url": self.url,
            "docs": f"{self.url}/docs",
            "pid": os.getpid(),
            "data_dir": str(self.data_dir),
            "store": {"kind": self.store, "url": self.store_url, "durable": self.durable},
            "threads": self.threads,
            "children": self.children,
            "needs_keys": self.needs_keys,
            "admin_key": self.admin_key,
        }


def run_service(settings: Settings, *, announce: Callable[[Running], None], say: Say) -> None:
    """Run the service until SIGINT or SIGTERM; call it from the main thread.

    settings.port 0 takes a free port. With settings.redis_url set, that store is used and none is started.
    announce: called once, when the API answers /readyz and all workers take messages. say: gets a line for each thing
    worth knowing before and after that.
    Raises: AlreadyRunning; Conflict where the port is taken; InvalidRequest; ExtraMissing; Unavailable where a part
    does not start. Whatever is raised, no child is left running.
    """
    data_dir = settings.data_dir.expanduser().resolve()
    threads = settings.threads or len(os.sched_getaffinity(0))
    needs_keys = keys_are_needed(settings)
    with (
        Signals() as signals,
        DataLock(data_dir) as lock,
        _listening(settings.host, settings.port) as (listener, url),
        suppress(StopRequested),
    ):
        lock.note(pid=os.getpid(), url=url)
        supervisor = Supervisor(data_dir, signals, say=say)
        supervisor.end_leftovers()
        with _store(settings, data_dir, say) as (kind, store_url, store):
            if store is not None:
                lock.note(pid=os.getpid(), url=url, store=store_url)  # for `cvpipe keys`
            try:
                if store is not None:
                    supervisor.start(store.command())
                    supervisor.wait_until(store.ping, timeout_seconds=_STORE_SECONDS, what="the store does not answer")
                admin_key = _first_key(store_url) if needs_keys else None
                environment = _environment(
                    settings,
                    data_dir=data_dir,
                    redis_url=store_url,
                    port=listener.getsockname()[1],
                    public_url=settings.public_url or url,
                    threads=threads,
                    outside_loopback=_calls_loopback(settings),
                )
                queues = (*COMPUTE_QUEUES, *settings.extra_queues.split())
                for command in _commands(listener.fileno(), queues, threads, environment):
                    supervisor.start(command)
                probe = _Readiness(listener)
                supervisor.wait_until(
                    lambda: supervisor.all_ready() and probe(),
                    timeout_seconds=_READY_SECONDS,
                    what="the service is not ready",
                )
                children = supervisor.pids()
                durable = None if kind == "external" else kind != "fakeredis"
                announce(Running(url, data_dir, kind, store_url, durable, threads, children, needs_keys, admin_key))
                supervisor.watch()
            finally:
                supervisor.stop(_STOP_ORDER)


@contextmanager
def _store(
    settings: Settings, data_dir: Path, say: Say
) -> Iterator[tuple[StoreKind, str, SocketStore | FakeStore | None]]:
    if settings.redis_url:
        yield "external", settings.redis_url, None
        return
    server = find_server()
    store: SocketStore | FakeStore
    if server.durable:
        store = SocketStore(server, data_dir)
    else:
        say("warning: the store is fakeredis: slow, and it forgets all jobs at the end. pip install 'cvpipe[api]'")
        store = FakeStore()
    try:
        if isinstance(store, SocketStore):
            store.lock(timeout_seconds=10)
        yield server.kind, store.url, store
    finally:
        store.close()


def _first_key(store_url: str) -> str | None:
    from cvpipe.store import make_first_key  # 20 MB that a service without keys does without

    return make_first_key(store_url)


def _commands(
    listener_fd: int, compute_queues: Sequence[str], threads: int, environment: dict[str, str]
) -> list[Command]:
    # -P: a file called queue.py in the current directory is not to be imported.
    cvpipe = [sys.executable, "-P", "-m", "cvpipe"]
    arguments = {
        "api": ["api", "--fd", str(listener_fd)],
        "compute": ["worker", "--queues", ",".join(compute_queues), "--threads", str(threads)],
        # The sweeper has hardly anything to do; a process of its own would cost 80 MB and a second at the start.
        "flow": ["worker", "--queues", ",".join(FLOW_QUEUES), "--threads", str(_FLOW_THREADS), "--sweep"],
        "notify": ["worker", "--queues", ",".join(NOTIFY_QUEUES), "--threads", str(_NOTIFY_THREADS)],
        "media": ["worker", "--queues", ",".join(MEDIA_QUEUES), "--threads", str(_MEDIA_THREADS)],
    }
    return [
        Command(
            name=name,
            argv=[*cvpipe, *words],
            environment=environment,
            inherited=(listener_fd,) if name == "api" else (),
        )
        for name, words in arguments.items()
    ]


def _environment(settings: Settings, **changed: Any) -> dict[str, str]:
    """The settings as the children read them."""
    values = settings.model_dump(mode="json", exclude_none=True) | changed
    for name in ("models_dir", "pipelines_dir"):
        if name in values:
            values[name] = Path(values[name]).expanduser().resolve()
    return {f"CVPIPE_{name.upper()}": str(value) for name, value in values.items()}


def _calls_loopback(settings: Settings) -> bool:
    """Whether jobs may have this machine itself called: where only this machine can post jobs, unless it was said."""
    return (
        settings.outside_loopback
        if "outside_loopback" in settings.model_fields_set
        else is_loopback_host(settings.host)
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """The API's socket and its address.

    Bound here and not by the API: a taken port is told at once, and an API that is started again loses no connection.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except socket.gaierror as error:
        raise InvalidRequest(f"there is no address {host!r}: {error.strerror}", field="host") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} of {host} is in use; take another with --port, or a free one with --port 0"
            raise Conflict(message) from None
        raise InvalidRequest(f"can't listen on port {port} of {host}: {error.strerror}", field="port") from None
    with listener:
        shown = _reachable(host)
        yield listener, f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}"


def _reachable(host: str) -> str:
    """Where a client on this machine finds a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


class _Readiness:
    """Asks the API whether it and its store are ready."""

    def __init__(self, listener: socket.socket) -> None:
        host, self._port = listener.getsockname()[:2]
        self._host = _reachable(host)

    def __call__(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
