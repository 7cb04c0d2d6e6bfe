"""Chunks: the intervals that a video is worked on in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cvpipe.video import VideoIndex

_CUTS: Final = 3
_LEAST_FRAMES: Final = 8
"""A chunk needs a decoder of its own, which takes as long to start as one or two frames of a small network."""


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
    """The same frames in chunks of which the last are shorter, so that no thread works long after the others.

    The last chunks, as many as there are threads, are cut in halves, and the last ones then twice more, where there
    are keyframes and enough of the frames `numbers`.
    """
    spans = [(chunk.first, chunk.stop) for chunk in chunks]
    for _ in range(_CUTS if threads > 1 else 0):
        spans = spans[:-threads] + [part for span in spans[-threads:] for part in _halves(index, span, numbers)]
    return [Chunk(number, first, stop) for number, (first, stop) in enumerate(spans)]


def _halves(index: VideoIndex, span: tuple[int, int], numbers: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """A span cut at the keyframe nearest to its middle; whole where there is none, or a part would hold few frames."""
    first, stop = span
    keys = np.flatnonzero(index.keyframe[first + 1 : stop]) + first + 1
    if not len(keys):
        return [span]
    middle = int(keys[np.abs(keys - (first + stop) / 2).argmin()])
    edges = np.searchsorted(numbers, [first, middle, stop])
    return [(first, middle), (middle, stop)] if (np.diff(edges) >= _LEAST_FRAMES).all() else [span]


def frames_of(chunk: Chunk, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of `numbers` that lie in the chunk."""
    return numbers[np.searchsorted(numbers, chunk.first) : np.searchsorted(numbers, chunk.stop)]
