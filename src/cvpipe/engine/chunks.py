"""Chunks: the intervals that a video is worked on in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cvpipe.video import VideoIndex


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


def frames_of(chunk: Chunk, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of `numbers` that lie in the chunk."""
    return numbers[np.searchsorted(numbers, chunk.first) : np.searchsorted(numbers, chunk.stop)]
