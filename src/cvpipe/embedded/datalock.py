"""One `cvpipe up` per data directory, held by a lock that dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cvpipe.errors import AlreadyRunning, InvalidRequest


class DataLock:
    """The right to run a service on a data directory, as a context manager.

    The lock file stays behind, empty: deleting it would let two processes hold locks on two files of one name.
    Raises: AlreadyRunning, with the holder's pid and address; InvalidRequest where the directory can't be used.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "run" / "up.lock"
        self._fd: int | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidRequest(
                f"can't write to the data directory {self._data_dir}: {error.strerror}; choose another",
                field="data_dir",
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read(fd)
            os.close(fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise InvalidRequest(
                    f"can't lock a file in {self._data_dir}: {error.strerror}; choose a local disk", field="data_dir"
                ) from None
            raise AlreadyRunning(_describe(self._data_dir, holder)) from None
        self._fd = fd
        self.note(pid=os.getpid())
        return self

    def note(self, **facts: Any) -> None:
        """Say who holds the lock, for the one who finds it taken."""
        if self._fd is not None:
            content = json.dumps(facts).encode()
            os.pwrite(self._fd, content, 0)
            os.ftruncate(self._fd, len(content))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def _read(fd: int) -> dict[str, Any]:
    try:
        facts = json.loads(os.pread(fd, 65536, 0))
    except ValueError:
        return {}  # its holder is just starting, or just stopping
    return facts if isinstance(facts, dict) else {}


def _describe(data_dir: Path, holder: dict[str, Any]) -> str:
    who = f"pid {holder['pid']}" if "pid" in holder else "another process"
    where = f" at {holder['url']}" if "url" in holder else ""
    stop = f"stop it with `kill {holder['pid']}`" if "pid" in holder else "wait for it to end"
    return f"cvpipe is already up on {data_dir}: {who}{where}; {stop}, or choose another data directory"
