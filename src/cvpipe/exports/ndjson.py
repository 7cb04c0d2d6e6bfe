"""`frames.ndjson`, `events.ndjson`, `crops.ndjson`, `tracks.ndjson`: one record a line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class Row(Protocol):
    """What can be written as a line."""

    def to_json(self) -> str:
        """One line of JSON, without its newline."""
        ...


class NdjsonFile:
    """A file that appears under its name only when it is complete. rows: how many lines it has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self.rows = 0

    def __enter__(self) -> Self:
        self._file = self._part.open("w", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, row: Row) -> None:
        """Append a line."""
        self._file.write(row.to_json() + "\n")
        self.rows += 1


def write_ndjson(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to `path`, which appears only when complete. Returns their number."""
    with NdjsonFile(path) as file:
        for row in rows:
            file.add(row)
    return file.rows
