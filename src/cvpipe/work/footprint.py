"""Footprint: the memory that a worker takes, with the processes that decode for it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def memory_of_workers() -> int:
    """Bytes of memory that this process and its children, which decode, have in RAM."""
    parents: dict[int, int] = {}
    pages: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError, IndexError):  # it has ended
                stat = (folder / "stat").read_text()
                parents[int(folder.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
                pages[int(folder.name)] = int((folder / "statm").read_text().split()[1])
    family, size = {os.getpid()}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sum(pages.get(pid, 0) for pid in family) * os.sysconf("SC_PAGE_SIZE")
