"""The process that decoders are forked from: clean, single-threaded, confined, with PyAV and numpy already imported.

`cvpipe.video.decoders` starts it with a socket. Each message on the socket is a request with three descriptors (see
`cvpipe.video.wire`); the server forks one child for it, tells the requester of its start and its end, and reaps it.
It ends when the socket closes or its parent ends, and its children end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
from dataclasses import dataclass, field
from typing import NoReturn

from cvpipe.video import child, sandbox, wire

_DRIVER = ("libcuda.so.1", "libnvcuvid.so.1")


@dataclass(slots=True)
class _Server:
    """silence: /dev/null, open. filtered: decoders get a filter of system calls. card: they may use one.

    kept: by pid, our copy of the socket of each child. peak_bytes, seconds: most memory and processor time of the
    children that ended since last asked.
    """

    requests: socket.socket
    silence: int
    filtered: bool
    card: bool
    kept: dict[int, socket.socket] = field(default_factory=dict)
    peak_bytes: int = 0
    seconds: float = 0.0


def main(fd: int, parent: int, card: bool = False) -> None:
    """Serve requests that come in on the socket `fd` until it closes or the process `parent` ends.

    card: its decoders may use an NVIDIA card. CUDA does not survive a fork: each begins with it anew, and what is done
    here is to load the driver's libraries.
    """
    requests = socket.socket(fileno=fd)
    # Ctrl-C goes to the whole process group, and so do some supervisors' requests to stop. What they mean, our parent
    # decides: it may have frames to finish first. We end when it does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        # PR_SET_PDEATHSIG would kill us when the thread that started us ends, not its process.
        parent_end = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    if os.getppid() != parent:
        return
    child.warm_up()
    silence = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    lacks = _load_driver() if card else ""
    confined = sandbox.confine(card=card)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of ours
    with contextlib.suppress(ConnectionError):  # a parent that is gone: Ctrl-C shows one line, not our traceback
        requests.send(json.dumps({"pid": os.getpid(), "confined": confined, "lacks": lacks}).encode())
        _serve(_Server(requests, silence, "few-system-calls" in confined, card), parent_end)


def _load_driver() -> str:
    """Have the driver's libraries in memory, where FFmpeg finds them by name. Returns what is missing."""
    for name in _DRIVER:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            return str(error)
    return ""


def _serve(server: _Server, parent_end: int) -> None:
    requests = server.requests
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    for fd in (requests.fileno(), parent_end, wake_read):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(server)
        if parent_end in ready:
            return
        if requests.fileno() in ready:
            data, fds, _, _ = socket.recv_fds(requests, 16, 3, socket.MSG_CMSG_CLOEXEC)
            if not data:
                return
            if fds:
                _answer(server, fds)
            else:
                _tell_usage(server)


def _tell_usage(server: _Server) -> None:
    _reap(server)
    server.requests.send(wire.usage_message.pack(wire.USAGE, server.peak_bytes, server.seconds))
    server.peak_bytes, server.seconds = 0, 0.0


def _answer(server: _Server, fds: list[int]) -> None:
    """Fork a child for one request and hand back its pidfd. Only the child touches what the descriptors hold."""
    us = os.getpid()
    try:
        end, video, memory = fds
        pid = os.fork()
        if pid == 0:
            _be_child(us, server, end, video, memory)
        pidfd = os.pidfd_open(pid)  # it can't have been reaped yet
    except (OSError, ValueError) as error:  # no more processes or memory; or our table of open files was full
        server.requests.send(bytes((wire.REFUSED,)) + str(error).encode())
        fds_to_close = fds
    else:
        # Our copy of the socket tells the requester how the child ended, after the last of the child's own words.
        server.kept[pid] = socket.socket(fileno=end)
        socket.send_fds(server.requests, [wire.started_message.pack(wire.STARTED, pid)], [pidfd])
        fds_to_close = [video, memory, pidfd]
    for fd in fds_to_close:
        os.close(fd)


def _be_child(parent: int, server: _Server, end: int, video: int, memory: int) -> NoReturn:
    """Be a decoder and end. Never returns."""
    status = 1
    try:
        sandbox.die_with(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for stream in (0, 1, 2):
            os.dup2(server.silence, stream)
        mine = sorted((2, end, video, memory))
        for low, high in zip(mine, [*mine[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(low + 1, high)
        child.run(socket.socket(fileno=end), video, memory, filtered=server.filtered, card=server.card)
        status = 0
    finally:
        # Not sys.exit: nothing of the server may be unwound or flushed here.
        os._exit(status)


def _reap(server: _Server) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        server.peak_bytes = max(server.peak_bytes, usage.ru_maxrss * 1024)
        server.seconds += usage.ru_utime + usage.ru_stime
        end = server.kept.pop(pid, None)
        if end is not None:
            # The requester may have gone, or its queue is full of the child's words: that it closes tells it as well.
            with contextlib.suppress(OSError):
                end.send(wire.exit_message.pack(wire.EXITED, status), socket.MSG_DONTWAIT)
            end.close()
