"""A seccomp filter for decoders: the few system calls that decoding takes, and no other.

A call that is not on the list fails with EPERM. It is not answered with a kill: C libraries and OpenCV try calls that
they can do without (and a newer one tries others), and a good video must not become a crash for that. To who has taken
a decoder over, both refuse the same. A call by another architecture's table has no honest use, and kills.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}
"""By the kernel's name: AUDIT_ARCH_*, the column in `_CALLS`, the number of seccomp(2)."""

_CALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    # Often called ones first: the kernel goes through the list from above, for each call.
    "read": (0, 63),
    "lseek": (8, 62),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "futex": (202, 98),
    "munmap": (11, 215),
    "brk": (12, 214),
    "madvise": (28, 233),
    "mremap": (25, 216),
    "clock_gettime": (228, 113),
    "pread64": (17, 67),
    "readv": (19, 65),
    "write": (1, 64),
    "writev": (20, 66),
    "close": (3, 57),
    "dup": (32, 23),
    "fcntl": (72, 25),
    "fstat": (5, 80),
    "poll": (7, None),
    "ppoll": (271, 73),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "getrandom": (318, 278),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "clock_getres": (229, 114),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_GUARDED: Final[dict[str, tuple[int, int]]] = {
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "newfstatat": (262, 79),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}

_CARD_CALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    "ioctl": (16, 29),
    "openat": (257, 56),
    "open": (2, None),
    "newfstatat": (262, 79),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "mmap": (9, 222),
    "msync": (26, 227),
    "mincore": (27, 232),
    "mlock": (149, 228),
    "munlock": (150, 229),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "get_mempolicy": (239, 236),
    "membarrier": (324, 283),
    "memfd_create": (319, 279),
    "ftruncate": (77, 46),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "set_tid_address": (218, 96),
    "sched_setaffinity": (203, 122),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "getpriority": (140, 141),
    "getppid": (110, 173),
    "getrlimit": (97, 163),
    "times": (100, 153),
    "umask": (95, 166),
    "pipe2": (293, 59),
    "eventfd2": (290, 19),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "select": (23, None),
    "pselect6": (270, 72),
    "timerfd_create": (283, 85),
    "timerfd_settime": (286, 86),
    "pwrite64": (18, 68),
    "bind": (49, 200),
    "listen": (50, 201),
    "setsockopt": (54, 208),
}
"""What CUDA's driver calls beside. Written from what is known of it; not yet seen on a card: what is missing here
makes the card's decoder fail, and the CPU go on."""
_CARD_GUARDED: Final[dict[str, tuple[int, int]]] = {"clone": (56, 220), "prctl": (157, 167), "socket": (41, 198)}
_CLONE3: Final = (435, 435)
_CLONE_THREAD = 0x10000
_PR_SET_NAME = 15

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JSET|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # places in struct seccomp_data
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_ABSENT = 0x00050000 | errno.ENOSYS
_SET_MODE_FILTER = 1
_SPEC_ALLOW = 1 << 2
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_PROT_EXEC = 4
_AT_EMPTY_PATH = 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def allowed() -> tuple[str, ...]:
    """Names of the system calls that a filter lets through, some only with harmless arguments."""
    return (*_CALLS, *_GUARDED)


def forbid_other_calls(*, card: bool = False) -> bool:
    """Let this thread make the calls of `allowed` and no other, for ever. False where that can't be had.

    Needs PR_SET_NO_NEW_PRIVS to be set. Memory can't be made executable any more either: who takes a decoder over
    brings no code of his own. card: what CUDA's driver takes is allowed too; it loads libraries, so code can be mapped.
    """
    found = _ARCHITECTURES.get(platform.machine())
    if found is None or struct.calcsize("P") != 8:
        return False
    code = b"".join(struct.pack("<HBBI", *step) for step in _steps(found[0], found[1], os.getpid(), card=card))
    program = _Program(len(code) // 8, code)
    # Older kernels (before 5.16) slow a filtered process down against a leak of its own secrets; it has none.
    if _libc.syscall(found[2], _SET_MODE_FILTER, _SPEC_ALLOW, ctypes.byref(program)) == 0:
        return True
    return int(_libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0)) == 0


def is_offered(*, card: bool = False) -> bool:
    """Does the kernel take the filter, and keep to it? Tried out in a child, for there is no way back."""
    pid = os.fork()
    if pid == 0:
        works = False
        try:
            works = forbid_other_calls(card=card) and _is_refused()
        finally:
            os._exit(0 if works else 1)
    return os.waitpid(pid, 0)[1] == 0


def _is_refused() -> bool:
    try:
        socket.socket(socket.AF_UNIX).close()  # of a stream: refused with a card, too
    except PermissionError:
        return True
    return False


_Step = tuple[int, int, int, int]


_Condition = tuple[int, int, int, bool]
"""Which argument, test, operand, whether the test is to be true."""
_GUARDS: Final[Mapping[str, Sequence[_Condition]]] = {
    "mmap": ((2, _ANY_BIT, _PROT_EXEC, False),),
    "mprotect": ((2, _ANY_BIT, _PROT_EXEC, False),),
    # How the C library asks about a descriptor; with a name, it would tell what files there are.
    "newfstatat": ((3, _EQUAL, _AT_EMPTY_PATH, True),),
    "tgkill": ((0, _EQUAL, 0, True),),  # how abort() ends its own process: its own number comes in here
    "prlimit64": ((0, _EQUAL, 0, True),),  # of oneself, and no further up than the hard limits
}
_CARD_GUARDS: Final[Mapping[str, Sequence[_Condition]]] = {
    "clone": ((0, _ANY_BIT, _CLONE_THREAD, True),),
    "prctl": ((0, _EQUAL, _PR_SET_NAME, True),),
    # CUDA does not start without one that listens under a name of its own (`@cuda-uvmfd-...`). From this kind nothing
    # can be sent before connect() or accept(), which are refused; from a datagram socket it could, to any name.
    "socket": (
        (0, _EQUAL, socket.AF_UNIX, True),
        (1, _ANY_BIT, socket.SOCK_SEQPACKET & ~socket.SOCK_STREAM, True),
        (1, _ANY_BIT, socket.SOCK_DGRAM, False),
    ),
}


def _steps(architecture: int, column: int, pid: int, *, card: bool) -> Iterator[_Step]:
    """The program: opcode, how far to jump if true, if false, operand."""
    calls = _CALLS | _CARD_CALLS if card else _CALLS
    guards = {name: guard for name, guard in {**_GUARDS, **(_CARD_GUARDS if card else {})}.items() if name not in calls}
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    for numbers in calls.values():
        if (number := numbers[column]) is not None:
            yield _EQUAL, 0, 1, number
            yield _RETURN, 0, 0, _ALLOW
    if card:  # its flags can't be seen; where there is none, the C library takes `clone`
        yield _EQUAL, 0, 1, _CLONE3[column]
        yield _RETURN, 0, 0, _ABSENT
    for name, conditions in guards.items():
        yield _EQUAL, 0, 2 * len(conditions) + 2, (_GUARDED | _CARD_GUARDED)[name][column]
        for left, (argument, test, operand, wanted) in zip(range(len(conditions))[::-1], conditions, strict=True):
            yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument  # the lower half: both architectures are little-endian
            refuse = 2 * left + 1
            yield test, *((0, refuse) if wanted else (refuse, 0)), pid if name == "tgkill" else operand
        yield _RETURN, 0, 0, _ALLOW
        yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _REFUSE
