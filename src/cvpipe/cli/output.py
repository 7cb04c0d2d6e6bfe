"""Results on standard output: for people as columns, for programs as JSON."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OnProgress = Callable[[int, int], None]


def line(text: str = "") -> None:
    """One line of a result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """One line for people, beside the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def as_json(value: Any) -> None:
    """A result as JSON: one line for programs, indented on a terminal. It is out when this returns."""
    line(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
    flush()


def flush() -> None:
    """Whatever was written is out when this returns."""
    sys.stdout.flush()


def columns(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under a header, aligned. The last column may be of any length."""
    table = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header) - 1)]
    for row in table:
        line("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip())


def count(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def whole_file(path: Path, data: bytes) -> None:
    """Write a file beside `path` and rename it: what was there before is there until the new one is whole."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def progress(what: str, *, unit: str = "frames") -> Iterator[OnProgress]:
    """A progress bar on standard error if that is a terminal, else nothing. Feed it (done, total), from any thread."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = [DownloadColumn()] if unit == "bytes" else [MofNCompleteColumn(), TextColumn(unit)]
    parts = (TextColumn("{task.description}"), BarColumn(), *count, TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
