"""A disk that takes nothing more: the one that videos and results are on."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.faults import Fault, Scene

_BLOCK = bytes(1 << 20)
_DISK_BYTES = 512 << 20
_CLONE_NEWNS = 0x20000


@contextmanager
def own_disk(folder: Path) -> Iterator[bool]:
    """A small disk in memory is mounted there for the block, for this process and its children alone.

    Enter it before there are threads. False where this needs rights that we do not have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_apart = os.geteuid() == 0 and ctypes.CDLL(None).unshare(_CLONE_NEWNS) == 0
    mounted = (
        is_apart
        and _does("mount", "--make-rprivate", "/")
        and _does("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "chaos", str(folder))
    )
    try:
        yield mounted
    finally:
        if mounted:
            _does("umount", "--lazy", str(folder))


def _does(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def _disk_full(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    """Filled to the last byte where the data have a disk of their own (root); else their folders refuse new files."""
    data = scene.cluster.data
    if os.path.ismount(data):
        ballast = data / "ballast"
        try:
            yield {"bytes": _fill(ballast)}
        finally:
            ballast.unlink(missing_ok=True)
        return
    folders = [data, *(folder for folder in data.rglob("*") if folder.is_dir())]
    modes = {folder: folder.stat().st_mode for folder in folders}
    try:
        for folder in folders:
            folder.chmod(0o555)
        yield {"folders": len(folders)}
    finally:
        for folder, mode in modes.items():
            if folder.exists():
                folder.chmod(mode)


def _fill(ballast: Path) -> int:
    size = 0
    with ballast.open("wb", buffering=0) as file:
        for step in (len(_BLOCK), 4096, 1):
            try:
                while True:
                    size += file.write(_BLOCK[:step])
            except OSError:  # full, for blocks of this size
                continue
    return size


FAULTS = (Fault("disk full", "servers", 1.5, (0.5, 6), _disk_full),)
