"""Give up what decoding doesn't need: the network, the file system, privileges, unlimited memory and time.

`confine` is for the fork-server, once; its children inherit it. What a kernel doesn't offer is left out: each
measure stands by itself, and the process limits of `limit` work everywhere.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal

from cvpipe.video.limits import Limits

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
    """Cut this process (single-threaded) off from network and files; returns what worked, for the log.

    Everything it needs must be imported and opened before.
    """
    done = []
    # Without this, one decoder could read another's memory.
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
        done.append("undumpable")
    # An empty network namespace; the user namespace is what an ordinary user needs to make one.
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0 or _libc.unshare(_CLONE_NEWNET) == 0:
        done.append("no-network")
    # The new user namespace brought all capabilities inside it; root may have had some outside.
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION_3, 0)), nothing) == 0:
        done.append("no-capabilities")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done.append("no-new-privileges")
        if _forbid_files():
            done.append("no-files")
    return done


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
