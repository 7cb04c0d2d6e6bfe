"""Give up what decoding doesn't need: the network, the file system, privileges, unlimited memory and time.

`confine` is for the fork-server, once; its children inherit it, and add `limit` and the filter of `seccomp`. What a
kernel doesn't offer is left out: each measure stands by itself, and the process limits of `limit` work everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import stat
import tempfile
from collections.abc import Sequence
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

WIDER: Final = {
    "limits": "memory that can be written to is bounded, address space and the number of threads are not",
    "empty-root": "the file system is there, as far as `no-files` allows",
    "no-files": "Landlock: NVIDIA's devices, the driver's libraries and what tells of hardware can be opened",
    "few-system-calls": "seccomp: about twice as many calls, ioctl among them, and a socket that reaches nobody; still "
    "no programs or processes",
}
"""What is different for a decoder that uses a card: it needs the driver, which runs in the process that asks."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_SYS_LANDLOCK_CREATE_RULESET = 444  # the same on all architectures
_SYS_LANDLOCK_ADD_RULE = 445
_SYS_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION = 1
_LANDLOCK_PATH = 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _CONTROL_DEVICE = 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15

_DRIVER_BYTES: Final = 2 * 2**30
"""For what CUDA's driver keeps in ordinary memory."""
_DRIVER_FILE_BYTES: Final = 16 * 2**20
"""For a file in memory (memfd), without which it does not start; there can be 256."""
_DEVICES: Final = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia[0-9]*", "nvidia-caps")
_TOLD: Final = (
    "/proc/driver/nvidia", "/proc/devices", "/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/proc/modules",
    "/proc/self", "/proc/sys/vm", "/sys/devices", "/sys/bus/pci", "/sys/module/nvidia", "/etc/ld.so.cache",
    "/usr/share/nvidia",
)  # fmt: skip
"""What the driver reads of the machine. Nothing of it is a user's."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def confine(*, card: bool = False) -> list[str]:
    """Cut this process (single-threaded) off from network and files; returns what worked: names of `MEASURES`.

    Everything it needs must be imported and opened before. card: for decoders that use one: see `WIDER`; each closes
    the files to itself (`close_in`), for what the driver reads of its own process has its number in its name.
    """
    done = ["limits"]
    # Without this, one decoder could read another's memory.
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
        done.append("undumpable")
    # An empty network namespace; the user namespace is what an ordinary user needs to make one.
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0 or _libc.unshare(_CLONE_NEWNET) == 0:
        done.append("no-network")
    if not card and _leave_files():
        done.append("empty-root")
    # The new user namespace brought all capabilities inside it; root may have had some outside.
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION_3, 0)), nothing) == 0:
        done.append("no-capabilities")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done.append("no-new-privileges")
        if has_landlock() if card else _forbid_files():
            done.append("no-files")
        if seccomp.is_offered(card=card):
            done.append("few-system-calls")
    return done


def has_landlock() -> bool:
    """Whether the kernel offers it."""
    return _landlock_version() >= 1


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


def _landlock_version() -> int:
    return int(_libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION))


def _forbid_files(but: Sequence[tuple[str, int]] = ()) -> bool:
    """Landlock: no path can be opened, made, changed or run, and no port used. but: paths, and what is allowed there.

    Below a folder the same is allowed as in it. A path that is not there is left out.
    """
    abi = _landlock_version()
    if abi < 1:
        return False
    rights = 13 + (abi >= 2) + (abi >= 3) + (abi >= 5)
    rules = _Ruleset(fs=(1 << rights) - 1, net=3 if abi >= 4 else 0, scoped=3 if abi >= 6 else 0)
    # Older kernels know only the first fields, and refuse a longer structure unless the rest is zero, which it is.
    fd = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0)
    if fd < 0:
        return False
    try:
        for path, allowed in but:
            _allow(fd, path, allowed & rules.fs)
        return int(_libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, fd, 0)) == 0
    finally:
        os.close(fd)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= ~_READ_DIR  # which only a folder can have
        beneath = _Beneath(rights, parent)
        _libc.syscall(_SYS_LANDLOCK_ADD_RULE, rules, _LANDLOCK_PATH, ctypes.byref(beneath), 0)
    finally:
        os.close(parent)


def for_card() -> list[tuple[str, int]]:
    """What a decoder that uses a card may open: devices, the libraries' folders, and what tells of the machine."""
    used = _READ_FILE | _WRITE_FILE | _READ_DIR | _CONTROL_DEVICE
    allowed = [(str(path), used) for pattern in _DEVICES for path in sorted(Path("/dev").glob(pattern))]
    allowed += [(path, _READ_FILE | _READ_DIR) for path in _TOLD]
    # It names its threads, or does not start.
    allowed.append(("/proc/self/task", _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE))
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    libraries = {line.split()[-1] for line in maps.splitlines() if re.search(r"/lib(cuda|nvcuvid)\.so", line)}
    return allowed + [(folder, _READ_FILE) for folder in sorted({str(Path(library).parent) for library in libraries})]


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the process `parent`, its parent, ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def close_in(limits: Limits, *, shared_bytes: int, filtered: bool, card: bool = False) -> None:
    """What a decoder does before it looks at its video: process limits, and the filter of system calls.

    shared_bytes: of address space for the ring, on top of its memory. filtered: the filter is promised. card: it is to
    use one, and closes the files to itself only now.
    Raises: OSError where the filter, or Landlock, is promised and not to be had.
    """
    if card and has_landlock() and not _forbid_files(for_card()):
        raise PermissionError(ctypes.get_errno(), "the kernel takes no Landlock rules any more")
    limit(limits, shared_bytes=shared_bytes, card=card)
    if filtered and not seccomp.forbid_other_calls(card=card):
        raise PermissionError(ctypes.get_errno(), "the kernel takes no seccomp filter any more")


def limit(limits: Limits, *, shared_bytes: int, card: bool = False) -> None:
    """Set the process limits of a decoder. `shared_bytes`: of address space for the ring, on top of its memory.

    card: CUDA's driver takes address space for all memory of the machine and its cards, opens devices, and starts
    threads: what it can write to is limited instead, and threads are by the filter, which lets no process be started.
    """
    memory = limits.memory_bytes + shared_bytes
    own = (
        ((resource.RLIMIT_DATA, limits.memory_bytes + _DRIVER_BYTES), (resource.RLIMIT_NOFILE, 256))
        if card
        else ((resource.RLIMIT_AS, memory), (resource.RLIMIT_NOFILE, 16), (resource.RLIMIT_NPROC, 0))
    )
    file_bytes = _DRIVER_FILE_BYTES if card else 0
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 5),
        *((what, most, most) for what, most in own),
    ):
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))
