"""Processes that are all alike, on one port: the kernel gives each new connection to one of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cvpipe.embedded.processes import dying_with_parent
from cvpipe.embedded.signals import Signals

_AGAIN_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 1.0


def shared_socket(host: str, port: int) -> socket.socket:
    """A bound socket on a port that other processes of this user may have one on too. Raises: OSError."""
    family, kind, number, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, number)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def keep_alike(
    command: Callable[[int], Sequence[str]],
    number: int,
    *,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    stop_seconds: float,
) -> None:
    """Run processes until the end is asked for; one that ends is started again. From the main thread only.

    command: of the process of a number, from 1.
    """

    def start(one: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command(one),
            env={**os.environ, **environment},
            start_new_session=True,  # the terminal's Ctrl-C is ours to pass on
            preexec_fn=dying_with_parent(signal.SIGKILL),  # noqa: PLW1509 - this process has one thread
        )

    with Signals() as signals:
        running = {one: start(one) for one in range(1, number + 1)}
        again: dict[int, float] = {}
        try:
            while not signals.stops:
                for one, process in list(running.items()):
                    if process.poll() is not None:
                        say(f"process {one} ended ({process.returncode}); starting it again")
                        del running[one]
                        again[one] = time.monotonic() + _AGAIN_SECONDS
                for one in [one for one, at in again.items() if at <= time.monotonic()]:
                    del again[one]
                    running[one] = start(one)
                signals.wait(_LOOK_SECONDS)
        finally:
            _end(list(running.values()), stop_seconds)


def _end(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
