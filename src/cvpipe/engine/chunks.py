"""Chunks: the intervals that a video is worked on in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cvpipe.video import VideoIndex

_LEAST_FRAMES: Final = 8
"""A chunk needs a decoder of its own, which takes as long to start as one or two frames of a small network."""
_SHARE: Final = 1.5
"""Of the frames that are left at the end, a chunk has what is one thread's, divided by this: guided self-scheduling
(Polychronopoulos and Kuck, 1987, with 1)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The unit of work, retry and progress: source frames first <= number < stop; begins at a keyframe."""

    number: int
    first: int
    stop: int


def plan_chunks(index: VideoIndex, numbers: npt.NDArray[np.int64], seconds: float) -> list[Chunk]:
    """Chunks of about `seconds` that cover the frames `numbers`; those that hold none are left out."""
    if not len(numbers):
        return []
    spans = index.chunks(int(numbers[0]), int(numbers[-1]) + 1, seconds)
    spans = [(first, stop) for first, stop in spans if np.searchsorted(numbers, first) < np.searchsorted(numbers, stop)]
    return [Chunk(number, first, stop) for number, (first, stop) in enumerate(spans)]


def with_short_end(
    index: VideoIndex, chunks: Sequence[Chunk], numbers: npt.NDArray[np.int64], *, threads: int
) -> list[Chunk]:
    """The same frames in chunks of which the last are ever shorter, so that no thread works long after the others.

    As many of the last chunks as there are threads are cut anew, where there are keyframes and enough of the frames
    `numbers`.
    """
    if threads < 2 or not chunks:
        return list(chunks)
    spans = [(chunk.first, chunk.stop) for chunk in chunks[:-threads]]
    first, stop = chunks[-threads:][0].first, chunks[-1].stop
    keys = np.flatnonzero(index.keyframe[:stop])
    before = np.searchsorted(numbers, keys)
    end = int(np.searchsorted(numbers, stop))
    while True:
        begin = int(np.searchsorted(numbers, first))
        fits = np.flatnonzero((before - begin >= _LEAST_FRAMES) & (end - before >= _LEAST_FRAMES))
        if not len(fits):
            break
        wanted = begin + (end - begin) / (_SHARE * threads)
        cut = int(keys[fits[np.abs(before[fits] - wanted).argmin()]])
        spans.append((first, cut))
        first = cut
    spans.append((first, stop))
    return [Chunk(number, first, stop) for number, (first, stop) in enumerate(spans)]


def frames_of(chunk: Chunk, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of `numbers` that lie in the chunk."""
    return numbers[np.searchsorted(numbers, chunk.first) : np.searchsorted(numbers, chunk.stop)]
