"""Three hours, 324,000 frames: memory of every process over time, and how fast an index is made."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.clips import large_file, long_file
from benchmarks.parallel import CORES, read_chunks, stretched
from benchmarks.setup import print_table, spread
from cvpipe.video import Decoders, VideoIndex

_MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)


def measure(rounds: int) -> None:
    """Print both tables."""
    with Decoders() as decoders:
        indices = _measure_index(decoders, [long_file(), large_file()], rounds)
        assert len(indices[0]) == 324_000, len(indices[0])
        _measure_memory(decoders, long_file(), indices[0])


def _measure_index(decoders: Decoders, paths: list[Path], rounds: int) -> list[VideoIndex]:
    rows = []
    indices = []
    for path in paths:
        print(f"index of {path.name}", flush=True)
        megabytes = path.stat().st_size / 1e6
        for kind in ("from disk", "from memory"):
            indexing, reading = [], []
            for _ in range(rounds):
                for action, times in ((_read, reading), (decoders.index, indexing)):
                    if kind == "from disk":
                        _forget(path)
                    else:
                        _read(path)
                    started = time.perf_counter()
                    made = action(path)
                    times.append(time.perf_counter() - started)
            assert isinstance(made, VideoIndex)
            rows.append(
                (
                    f"{path.name}, {megabytes:.0f} MB, {kind}",
                    spread([len(made) / s for s in indexing], "{:,.0f}"),
                    spread([megabytes / s for s in indexing], "{:.0f}"),
                    spread([megabytes / s for s in reading], "{:.0f}"),
                )
            )
        indices.append(made)
    print_table("making an index, in one process", ("file", "frames/s", "MB/s", "just reading it, MB/s"), rows)
    return indices


@dataclass
class _Watch:
    """Resident memory of this process, the fork-server and the decoders; the most of each since the last mark."""

    server: int
    total: int
    done: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def count(self) -> None:
        """One frame more."""
        self.done += 1  # several threads: one or two lost counts don't matter

    def look(self) -> None:
        """Until told to stop."""
        marks = list(_MARKS)
        while not self.stop.wait(0.02):
            for name, pids in (
                ("parent", [os.getpid()]),
                ("fork-server", [self.server]),
                ("decoder", self._children()),
            ):
                self.peaks[name] = max([self.peaks.get(name, 0), *(_resident_bytes(pid) for pid in pids)])
            if marks and self.done >= self.total * marks[0] * 0.999:
                self.mark(marks.pop(0))

    def mark(self, share: float) -> None:
        """Write a row down and begin anew."""
        megabytes = [f"{self.peaks.get(name, 0) / 2**20:.0f}" for name in ("parent", "fork-server", "decoder")]
        self.rows.append((f"{share:.0%}", f"{time.perf_counter() - self.started:.0f}", *megabytes))
        print(f"three hours: {share:.0%} read", flush=True)
        self.peaks.clear()

    def _children(self) -> list[int]:
        try:
            return [int(n) for n in Path(f"/proc/{self.server}/task/{self.server}/children").read_text().split()]
        except OSError:
            return []


def _measure_memory(decoders: Decoders, path: Path, index: VideoIndex) -> None:
    watch = _Watch(decoders.server_pid, len(index))
    thread = threading.Thread(target=watch.look)
    thread.start()
    try:
        view = stretched(index, 64, 36)
        numbers = np.arange(len(index))
        done = read_chunks(decoders, path, index, numbers, view, chunk_seconds=10, on_frame=watch.count)
        time.sleep(0.1)
    finally:
        watch.stop.set()
        thread.join()
    assert done.frames == len(index), done.frames
    if len(watch.rows) < len(_MARKS):
        watch.mark(_MARKS[-1])
    print_table(
        f"{len(index):,} frames of 128x72 in 10 s chunks, {CORES} decoders at once: {done.frames / done.seconds:,.0f} "
        "frames/s; most resident memory, MB, since the row before",
        ("read", "after s", "parent", "fork-server", "largest decoder"),
        watch.rows,
    )


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0  # it has ended meanwhile


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def _forget(path: Path) -> None:
    """Let the kernel drop what it keeps of the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
