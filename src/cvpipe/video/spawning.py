"""The parent's side of the fork-server: start it, ask it for decoder processes, end it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cvpipe.errors import DecoderUnavailable, ExtraMissing
from cvpipe.log import fields
from cvpipe.video import wire
from cvpipe.video.hardware import card_environment

_log = logging.getLogger(__name__)

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from cvpipe.video.forkserver import main; main(int(sys.argv[2]), int(sys.argv[3]), len(sys.argv) > 4)"
)
_START_SECONDS = 60
"""A machine that is busy may take long to import numpy and PyAV; ordinarily it is a third of a second."""
_FORK_SECONDS = 30
_END_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Process:
    """A decoder process. pid: for people. pidfd: for signals, because a pid can be another process by now."""

    pid: int
    pidfd: int
    socket: socket.socket

    def end(self) -> None:
        """Kill it unless it has ended, and wait until it has."""
        # Closing first: what it still has to say is of no use, and the fork-server need not deliver its status.
        self.socket.close()
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll(_END_SECONDS * 1000)
        finally:
            os.close(self.pidfd)


@dataclass(frozen=True, slots=True)
class Usage:
    """What decoders have used. peak_bytes: most memory (resident) of any one. seconds: of processor time, of all."""

    peak_bytes: int
    seconds: float


_Answer = TypeVar("_Answer")


class ForkServer:
    """A clean process that forks decoders; started when made, and again should it have died. Thread-safe."""

    def __init__(self, *, card: bool = False) -> None:
        """card: its decoders may use an NVIDIA card: see `sandbox.WIDER`."""
        if importlib.util.find_spec("av") is None:
            raise ExtraMissing("reading videos needs PyAV: install cvpipe[cpu] or cvpipe[gpu]")
        self._lock = threading.Lock()
        self._closed = False
        self._protection: tuple[str, ...] | None = None
        self._card, self._lacks = card, ""
        self._process, self._socket = _launch(card=card)

    @property
    def protection(self) -> tuple[str, ...]:
        """Names of the measures (`cvpipe.video.sandbox.MEASURES`) that work here. Raises: DecoderUnavailable."""
        return self._retried(self._await_start)

    @property
    def lacks(self) -> str:
        """What of a card's driver is missing; empty where nothing is. Raises: DecoderUnavailable."""
        self._retried(self._await_start)
        return self._lacks

    def usage(self) -> Usage:
        """Of the decoders that have ended since it was last asked. Raises: DecoderUnavailable."""
        return self._retried(self._ask_usage)

    @property
    def pid(self) -> int:
        """Of the server that runs now."""
        return self._process.pid

    def fork(self, video: int, memory: int) -> Process:
        """A new decoder for the opened video and the order in `memory`; the caller keeps its own descriptors.

        Raises: DecoderUnavailable where no process can be had.
        """
        return self._retried(lambda: self._ask(video, memory))

    def close(self) -> None:
        """End the fork-server, and with it its children."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._stop()

    def _retried(self, ask: Callable[[], _Answer]) -> _Answer:
        """What the fork-server answers; another one is started should it have died."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the decoders are closed")
            try:
                return ask()
            except OSError as error:
                _log.warning("the fork-server is gone, starting another %s", fields(error=repr(error)))
            self._stop()
            self._protection = None
            self._process, self._socket = _launch(card=self._card)
            try:
                return ask()
            except OSError as error:
                raise DecoderUnavailable(f"the process that starts decoders does not start: {error!r}") from error

    def _await_start(self) -> tuple[str, ...]:
        if self._protection is None:
            self._socket.settimeout(_START_SECONDS)
            hello = self._socket.recv(wire.MESSAGE_BYTES)
            if not hello:
                raise ConnectionResetError("it ended while starting")
            said = json.loads(hello)
            _log.debug("fork-server ready %s", fields(**said))
            self._socket.settimeout(_FORK_SECONDS)
            self._protection, self._lacks = tuple(said["confined"]), str(said["lacks"])
        return self._protection

    def _ask_usage(self) -> Usage:
        self._await_start()
        self._socket.send(b"?")
        answer = self._socket.recv(wire.MESSAGE_BYTES)
        if not answer:
            raise ConnectionResetError("it has ended")
        _, peak_bytes, seconds = wire.usage_message.unpack(answer)
        return Usage(peak_bytes, seconds)

    def _ask(self, video: int, memory: int) -> Process:
        self._await_start()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                socket.send_fds(self._socket, [b"?"], [theirs.fileno(), video, memory])
            answer, fds, _, _ = socket.recv_fds(self._socket, wire.MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            if not answer:
                raise ConnectionResetError("it has ended")
            if answer[0] == wire.REFUSED:
                raise DecoderUnavailable(f"no decoder process can be started: {answer[1:].decode(errors='replace')}")
            (pidfd,) = fds
            return Process(wire.started_message.unpack(answer)[1], pidfd, ours)
        except BaseException:
            ours.close()
            raise

    def _stop(self) -> None:
        self._socket.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_SECONDS)


def _launch(*, card: bool) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Isolated mode ignores PYTHONPATH and the current folder, so our own path is handed over.
    path = [str(Path(entry).absolute()) for entry in sys.path if entry]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, json.dumps(path), str(theirs.fileno()), str(os.getpid())]
            + ["card"] * card,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            # OpenBLAS would start a thread for each core; forking is safe from one thread only.
            env={"OPENBLAS_NUM_THREADS": "1", **(card_environment() if card else {})},
        )
    return process, ours
