"""Read frames in one call, and compare them."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from cvpipe.frames import View
from cvpipe.video import Decoders, VideoIndex


def read(
    decoders: Decoders, path: Path, index: VideoIndex, numbers: Any = None, view: View | None = None
) -> dict[int, np.ndarray | None]:
    """Copies of the pictures of frames by number, None for a damaged one; default: all, as they are."""
    view = view or View.of(index.facts.display_width, index.facts.display_height)
    found: dict[int, np.ndarray | None] = {}
    with decoders.read(path, index, np.arange(len(index)) if numbers is None else numbers, [view]) as frames:
        for frame in frames:
            found[frame.number] = None if frame.images is None else frame.images[0].copy()
            frame.release()
    return found


def read_plainly(path: Path, size: tuple[int, int], format: str = "bgr24") -> list[np.ndarray]:
    """All frames of a video as PyAV and FFmpeg's `scale` alone read them, in this process, at their own size."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert (stream.width, stream.height) == size
        graph = av.filter.Graph()
        steps = graph.add_buffer(template=stream), graph.add("scale"), graph.add("format", format)
        graph.link_nodes(*steps, graph.add("buffersink")).configure()
        pictures = []
        for frame in container.decode(stream):
            graph.push(frame)
            pictures.append(graph.pull().to_ndarray())
        return pictures


def different(some: dict[int, np.ndarray | None], others: dict[int, np.ndarray | None]) -> list[int]:
    """Numbers of the frames in `some` that are not, bit for bit, those in `others`."""
    out = []
    for number, image in some.items():
        other = others[number]
        if (image is None) != (other is None) or (image is not None and not np.array_equal(image, other)):
            out.append(number)
    return out


def ranges(length: int, sizes: Sequence[int]) -> list[range]:
    """The numbers 0 to length - 1 cut into pieces of each size."""
    return [range(a, min(a + size, length)) for size in sizes for a in range(0, length, size)]


def is_alive(pid: int) -> bool:
    """Is there a process, zombies aside?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """Pids of the children of a process, zombies too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent) == pid:
                found.append(int(entry.name))
    return found


def descriptors(pid: int | None = None) -> Counter[str]:
    """What the open descriptors of a process lead to; of this one, once nothing but what is in use holds one.

    What came to be is `descriptors() - before`; what an earlier test left to the garbage collector is no loss.
    """
    if pid is None:
        gc.collect()
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid or 'self'}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one for listing them
            found[str(entry.readlink())] += 1
    return found


def eventually(condition: Any, seconds: float = 60) -> bool:
    """Does it become true in time?"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
