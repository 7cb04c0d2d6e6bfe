"""Child processes that die with their parent, and the identity of a process across restarts."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

READY_FD: Final = "CVPIPE_READY_FD"  # environment variable: number of the pipe on which a child says that it is ready
_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that can't be mistaken for a later one with the same number.

    started: when it was started, as the system tells it (with the boot's id, since ticks count from the boot).
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The living process `pid`; None where there is none (a zombie is dead)."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """It still runs."""
        return _started(self.pid) == self.started

    def end(self, timeout_seconds: float) -> None:
        """Ask it to end, kill it after `timeout_seconds`; returns when it is gone. One that is gone stays so."""
        for number, patience in ((signal.SIGTERM, timeout_seconds), (signal.SIGKILL, 5.0)):
            if not self.is_alive():
                return
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + patience
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)


def _started(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat[stat.rindex(")") + 2 :].split()  # the name in parentheses may hold spaces
    if state in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{boot}:{fields[18]}"


def dying_with_parent(number: int) -> Callable[[], None]:
    """What a child does between fork and exec: ask for signal `number` at the death of the parent."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return bind


@dataclass(frozen=True, slots=True)
class Command:
    """What to run as a child.

    environment: added to ours. inherited: open files the child gets under the same numbers. says_ready: it calls
    `say_ready`. stop_seconds: how long it may take to end after SIGTERM. death_signal: what it gets when we die without
    a word; workers and the API lose nothing to SIGKILL.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    inherited: Sequence[int] = ()
    says_ready: bool = True
    stop_seconds: float = 5.0
    death_signal: int = signal.SIGKILL


class Child:
    """A running child in a process group of its own, its output appended to a log file."""

    def __init__(self, command: Command, log: Path) -> None:
        self.command = command
        self.log = log
        self.started_at = time.monotonic()
        self._ready_fd: int | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        read_fd, write_fd = os.pipe()
        environment = {**os.environ, **command.environment, READY_FD: str(write_fd)}
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    command.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    pass_fds=(*command.inherited, write_fd),
                    # A session of its own: the terminal's Ctrl-C is ours to pass on, in the right order.
                    start_new_session=True,
                    preexec_fn=dying_with_parent(command.death_signal),  # noqa: PLW1509 - this process has one thread
                )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        os.set_blocking(read_fd, False)
        self._ready_fd = read_fd
        self.ready = not command.says_ready

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def check_ready(self) -> bool:
        """It has said that it is ready."""
        if not self.ready and self._ready_fd is not None:
            try:
                self.ready = bool(os.read(self._ready_fd, 64))
            except BlockingIOError:
                return False
        return self.ready

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def describe_exit(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and all of its own children now."""
        with suppress(ProcessLookupError):  # all of them are gone already
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; False where it still runs after `timeout_seconds`."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Let go of it, once it has ended."""
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None

    def last_words(self) -> str:
        """The last error in the end of its log, else the last line."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or [""])[-1].strip()


def say_ready() -> None:
    """Tell the parent that this process is ready, where the parent asked to be told."""
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with suppress(BrokenPipeError):  # the parent is gone; its death ends us by itself
            os.write(int(number), b"ready\n")
        os.close(int(number))


class Roster:
    """The children of an `up`, kept in a file: whoever comes after a killed parent ends what it left running."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, ProcessId] = {}

    def add(self, name: str, pid: int) -> None:
        """Note a child, in place of an earlier one of that name."""
        identity = ProcessId.of(pid)
        if identity is not None:  # it may be dead already
            self._members[name] = identity
            self._write()

    def end_leftovers(self, timeout_seconds: float) -> list[str]:
        """End what the last `up` left running; the store last, since the others write to it. Returns their names."""
        try:
            noted = json.loads(self._path.read_text())
            left = {str(name): ProcessId(int(p["pid"]), str(p["started"])) for name, p in noted.items()}
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, AttributeError):
            return []  # cut off in the middle by a full disk; a live child would have died with its parent
        ended = []
        for name, process in sorted(left.items(), key=lambda item: item[0] == "store"):
            if process.is_alive():
                process.end(timeout_seconds)
                ended.append(name)
        return ended

    def clear(self) -> None:
        """All have ended."""
        self._members.clear()
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({n: {"pid": p.pid, "started": p.started} for n, p in self._members.items()}))
        fresh.replace(self._path)
