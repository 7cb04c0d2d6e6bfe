"""Children that are kept alive: started, told of when they die, started again, ended in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cvpipe.embedded.processes import Child, Command, Roster
from cvpipe.embedded.signals import Signals, StopRequested
from cvpipe.errors import Unavailable

_BACKOFF_SECONDS: Final = 0.5  # doubled with each death in a row
_BACKOFF_LIMIT_SECONDS: Final = 30.0
_HEALTHY_SECONDS: Final = 60.0  # a child that lived this long starts over with the shortest backoff
_LOG_LIMIT_BYTES: Final = 10 * 2**20
_LOG_CHECK_SECONDS: Final = 60.0

Say = Callable[[str], None]


class Supervisor:
    """Keeps the children of one data directory alive.

    say: gets one line for each event that a person should know of.
    """

    def __init__(self, data_dir: Path, signals: Signals, *, say: Say) -> None:
        self._logs = data_dir / "logs"
        self._roster = Roster(data_dir / "run" / "children.json")
        self._signals = signals
        self._say = say
        self._children: dict[str, Child] = {}
        self._deaths: dict[str, int] = {}
        self._again: dict[str, tuple[float, Command]] = {}
        self._next_log_check = 0.0

    def end_leftovers(self) -> None:
        """End what a killed `up` left running."""
        for name in self._roster.end_leftovers(timeout_seconds=5):
            self._say(f"ended {name}, left over from an earlier run")

    def start(self, command: Command) -> Child:
        """Start a child and keep it."""
        log = self._logs / f"{command.name}.log"
        _trim(log)
        child = Child(command, log)
        self._children[command.name] = child
        self._roster.add(command.name, child.pid)
        return child

    def pids(self) -> dict[str, int]:
        """Process id of each child that runs."""
        return {name: child.pid for name, child in self._children.items()}

    def all_ready(self) -> bool:
        """Every child has said that it is ready."""
        return all(child.check_ready() for child in self._children.values())

    def wait_until(self, condition: Callable[[], bool], *, timeout_seconds: float, what: str) -> None:
        """Wait for `condition` while all children live.

        Raises: StopRequested; Unavailable where a child died or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if self._signals.stops:
                raise StopRequested
            for child in self._children.values():
                if child.exit_code() is not None:
                    why = child.last_words() or child.describe_exit()
                    raise Unavailable(f"{child.command.name} did not start: {why} (log: {child.log})")
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} after {timeout_seconds:.0f} s (logs: {self._logs})")
            self._signals.wait(0.02)

    def watch(self) -> None:
        """Keep the children alive until the end is asked for."""
        while not self._signals.stops:
            self._note_the_dead()
            self._start_the_due()
            if time.monotonic() >= self._next_log_check:
                self._next_log_check = time.monotonic() + _LOG_CHECK_SECONDS
                for child in self._children.values():
                    _trim(child.log)
            soonest = min((at for at, _ in self._again.values()), default=self._next_log_check)
            self._signals.wait(min(soonest, self._next_log_check) - time.monotonic())

    def stop(self, order: Sequence[Sequence[str]]) -> None:
        """End all children, those of each group together, group after group. A second request kills what is left."""
        patience = self._signals.stops
        for group in order:
            children = [self._children[name] for name in group if name in self._children]
            for child in children:
                child.terminate()
            for child in children:
                deadline = time.monotonic() + child.command.stop_seconds
                while child.exit_code() is None and time.monotonic() < deadline and self._signals.stops <= patience:
                    self._signals.wait(0.1)
                if child.exit_code() is None and self._signals.stops <= patience:
                    self._say(f"{child.command.name} did not end in {child.command.stop_seconds:.0f} s; killed")
            for child in children:
                child.kill()  # its own children too
                child.wait(5)
                child.close()
        self._children.clear()
        self._roster.clear()

    def _note_the_dead(self) -> None:
        for name, child in list(self._children.items()):
            if child.exit_code() is None:
                continue
            del self._children[name]
            child.kill()  # what it started
            child.close()
            lived = time.monotonic() - child.started_at
            if lived > _HEALTHY_SECONDS:
                self._deaths[name] = 0
            self._try_later(child.command, f"{name} ended ({child.describe_exit()})")

    def _try_later(self, command: Command, why: str) -> None:
        deaths = self._deaths[command.name] = self._deaths.get(command.name, 0) + 1
        delay = min(_BACKOFF_SECONDS * 2 ** (deaths - 1), _BACKOFF_LIMIT_SECONDS)
        self._again[command.name] = (time.monotonic() + delay, command)
        log = self._logs / f"{command.name}.log"
        self._say(f"{why}; starting it again in {delay:g} s (log: {log})")

    def _start_the_due(self) -> None:
        for name, (at, command) in list(self._again.items()):
            if time.monotonic() < at:
                continue
            del self._again[name]
            try:
                self.start(command)
            except OSError as error:  # no space for its log, no process to be had: that may pass
                self._try_later(command, f"{name} can't be started ({error.strerror})")


def _trim(log: Path) -> None:
    """Keep a log and one older part, each of at most the limit and what one check misses.

    Copied and emptied in place: the child appends to the open file, so a new file would never be written to.
    """
    if not log.exists() or log.stat().st_size <= _LOG_LIMIT_BYTES:
        return
    older = log.with_suffix(".log.1")
    with log.open("rb") as source, older.open("wb") as target:
        source.seek(-_LOG_LIMIT_BYTES, 2)
        while block := source.read(1 << 20):
            target.write(block)
    with log.open("r+b") as source:
        source.truncate(0)
