"""The history of a run: what clients asked and were told, and what the nemesis did, in the order in which it was."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

What = Literal[
    "began", "healed",  # the nemesis: a fault, its end
    "submitting", "accepted", "refused",  # a client: before the request; told 202; told something else, or nothing
    "canceling", "told",  # a client: told that a job is over
    "delivered",  # the receiver: a webhook whose signature is right
    "rolled back",  # the nemesis: the store is that of an earlier time
    "ended",  # a process of the deployment, by itself
    "note",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history. at: seconds since the epoch, by this machine's clock, which is the store's too."""

    at: float
    who: str
    what: What
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = " ".join(f"{key}={value}" for key, value in self.facts.items())
        clock = f"{time.strftime('%H:%M:%S', time.gmtime(self.at))}.{int(self.at % 1 * 1000):03}"
        return f"{clock} {self.who:<12} {self.what} {told}"


class History:
    """Appended to by many threads; each line is on disk before `add` returns, so that it outlives the runner."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def add(self, who: str, what: What, **facts: Any) -> Entry:
        """Note what happens now."""
        with self._lock:
            entry = Entry(time.time(), who, what, facts)
            self._entries.append(entry)
            if self._file is not None:
                self._file.write(json.dumps({"at": round(entry.at, 4), "who": who, "what": what, **facts}) + "\n")
                self._file.flush()
        return entry

    def __iter__(self) -> Iterator[Entry]:
        with self._lock:
            return iter(list(self._entries))

    def of(self, what: What) -> list[Entry]:
        """All entries of one kind, in order."""
        return [entry for entry in self if entry.what == what]

    def faults(self) -> Counter[str]:
        """How many faults of each kind began."""
        return Counter(entry.facts["fault"] for entry in self.of("began"))

    def about(self, job: str, *, around: tuple[float, float] | None = None) -> list[Entry]:
        """What a reader wants to see of a job: its own entries, and the faults of its time (from, to)."""
        start, stop = around or (0.0, 0.0)
        return [
            entry
            for entry in self
            if entry.facts.get("job") == job or (entry.who == "nemesis" and start <= entry.at <= stop)
        ]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
