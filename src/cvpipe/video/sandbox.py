"""Give up what decoding doesn't need: the network, the file system, privileges, unlimited memory and time.

`confine` is for the fork-server, once; its children inherit it, and add `limit` and the filter of `seccomp`. What a
kernel doesn't offer is left out: each measure stands by itself, and the process limits of `limit` work everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import tempfile
from pathlib import Path
from typing import Final

from cvpipe.video import seccomp
from cvpipe.video.limits import Limits

MEASURES: Final = {
    "limits": "memory, processor time, open files and processes of a decoder are bounded",
    "undumpable": "no decoder can read the memory of another one",
    "no-network": "a decoder has a network of its own, with nothing in it",
    "empty-root": "a decoder's file system is an empty folder: it can't even tell which files there are",
    "no-capabilities": "a decoder has no rights of root",
    "no-new-privileges": "a decoder can't get rights by running a program",
    "no-files": "Landlock: a decoder can open, make, change or run no file; it has the one it was handed",
    "few-system-calls": "seccomp: a decoder reaches only the few parts of the kernel that decoding takes",
}
"""What may protect against a video that takes its decoder over, by name, and what each is good for."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_SYS_LANDLOCK_CREATE_RULESET = 444  # the same on all architectures
_SYS_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def confine() -> list[str]:
    """Cut this process (single-threaded) off from network and files; returns what worked: names of `MEASURES`.

    Everything it needs must be imported and opened before.
    """
    done = ["limits"]
    # Without this, one decoder could read another's memory.
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
        done.append("undumpable")
    # An empty network namespace; the user namespace is what an ordinary user needs to make one.
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0 or _libc.unshare(_CLONE_NEWNET) == 0:
        done.append("no-network")
    if _leave_files():
        done.append("empty-root")
    # The new user namespace brought all capabilities inside it; root may have had some outside.
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION_3, 0)), nothing) == 0:
        done.append("no-capabilities")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done.append("no-new-privileges")
        if _forbid_files():
            done.append("no-files")
        if seccomp.is_offered():
            done.append("few-system-calls")
    return done


def _leave_files() -> bool:
    """Make a folder that is gone the root: no path leads anywhere, and nothing can be made there.

    Landlock lets a process ask whether a file exists; this does not.
    """
    for parent in ("/tmp", "/dev/shm", "/var/tmp"):  # noqa: S108 - nothing is kept there
        with contextlib.suppress(OSError):
            folder = tempfile.mkdtemp(prefix="cvpipe-", dir=parent)
            try:
                os.chdir(folder)
            finally:
                Path(folder).rmdir()
            os.chroot(".")
            return True
    with contextlib.suppress(OSError):
        os.chdir("/")
    return False


def _forbid_files() -> bool:
    """Landlock with no rule: no path can be opened, made, changed or run, and no port used."""
    abi = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if abi < 1:
        return False
    rights = 13 + (abi >= 2) + (abi >= 3) + (abi >= 5)
    rules = _Ruleset(fs=(1 << rights) - 1, net=3 if abi >= 4 else 0, scoped=3 if abi >= 6 else 0)
    # Older kernels know only the first fields, and refuse a longer structure unless the rest is zero, which it is.
    fd = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0)
    if fd < 0:
        return False
    try:
        return int(_libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, fd, 0)) == 0
    finally:
        os.close(fd)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the process `parent`, its parent, ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def close_in(limits: Limits, *, shared_bytes: int, filtered: bool) -> None:
    """What a decoder does before it looks at its video: process limits, and the filter of system calls.

    shared_bytes: of address space for the ring, on top of its memory. filtered: the filter is promised.
    Raises: OSError where the filter is promised and not to be had.
    """
    limit(limits, shared_bytes=shared_bytes)
    if filtered and not seccomp.forbid_other_calls():
        raise PermissionError(ctypes.get_errno(), "the kernel takes no seccomp filter any more")


def limit(limits: Limits, *, shared_bytes: int) -> None:
    """Set the process limits of a decoder. `shared_bytes`: of address space for the ring, on top of its memory."""
    memory = limits.memory_bytes + shared_bytes
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, 16, 16),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 5),
        (resource.RLIMIT_AS, memory, memory),
    ):
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))
