"""What was read from files, kept for as long as they stay as they are: YAML takes milliseconds, a look takes none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_Stamp = tuple[int, int, int, int]


class FileCache(Generic[T]):
    """Values by the files that they were read from. Memory: `limit` values; then it begins anew."""

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._known: dict[tuple[Path, ...], tuple[list[_Stamp | None], T]] = {}

    def get(self, *files: Path, read: Callable[[], T]) -> T:
        """What `read()` made of the files; it is called where one of them came, went or changed since.

        The value is shared by all who ask: it must not be changed. What `read` raises is raised, and kept nowhere.
        """
        stamps = [_stamp(file) for file in files]  # before reading: what changes meanwhile is read again
        known = self._known.get(files)
        if known is not None and known[0] == stamps:
            return known[1]
        value = read()
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[files] = stamps, value
        return value


def _stamp(file: Path) -> _Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
