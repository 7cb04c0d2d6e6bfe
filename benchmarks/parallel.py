"""Read a video as jobs do: one decoder process for each core, on chunks; the parent touches every picture."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cvpipe.frames import View
from cvpipe.video import Decoders, VideoIndex

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Done:
    """What a reading took. cpu_seconds: of all processes. pictures: a checksum by frame number."""

    frames: int
    seconds: float
    cpu_seconds: float
    pictures: dict[int, int]


def stretched(index: VideoIndex, width: int, height: int) -> View:
    """The whole frame in RGB."""
    shown = View.of(index.facts.display_width, index.facts.display_height, format="rgb24")
    return shown.resized(width, height, mode="stretch")


def read_chunks(
    decoders: Decoders,
    path: Path,
    index: VideoIndex,
    numbers: npt.NDArray[np.int64],
    view: View,
    *,
    chunk_seconds: float,
    on_frame: Callable[[], None] | None = None,
) -> Done:
    """Read the frames `numbers`, in chunks of about so many seconds, as many at once as there are cores."""
    pictures: dict[int, int] = {}

    def read(span: tuple[int, int]) -> int:
        inside = numbers[np.searchsorted(numbers, span[0]) : np.searchsorted(numbers, span[1])]
        count = 0
        with decoders.read(path, index, inside, [view]) as frames:
            for frame in frames:
                assert frame.images is not None, frame.error
                # One byte of each cache line: every picture has really come.
                touched = int(frame.images[0].reshape(-1)[::64].sum())
                if on_frame is None:
                    pictures[frame.number] = touched
                else:
                    on_frame()
                frame.release()
                count += 1
        return count

    decoders.usage()
    before = _own_cpu_seconds()
    started = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        frames = sum(pool.map(read, index.chunks(0, len(index), chunk_seconds)))
    seconds = time.perf_counter() - started
    return Done(frames, seconds, _own_cpu_seconds() - before + decoders.usage().seconds, pictures)


def run_program(*command: str) -> tuple[float, float, str]:
    """Seconds and processor seconds that a program took, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def ffmpeg_decode(path: Path, *options: str, skipping: str = "default") -> tuple[float, float, str]:
    """Decode with the `ffmpeg` program and its own choice of threads, and throw the frames away.

    skipping: which frames its decoder leaves out.
    """
    return run_program("ffmpeg", "-v", "error", "-skip_frame", skipping, "-i", str(path), *options, "-f", "null", "-")


def _own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
