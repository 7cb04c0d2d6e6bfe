"""Times for frames whose own ones are missing, repeated or jump."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_LONGEST = 100
"""A frame that is shown for more of the usual steps is taken for a jump of the clock."""


def usual_step(pts: Sequence[int | None] | npt.NDArray[np.int64]) -> int:
    """The median of how far apart frames lie that follow each other, of two in the middle the larger; 0: not known."""
    if isinstance(pts, np.ndarray):
        steps = np.diff(pts)
    else:
        steps = np.array([b - a for a, b in pairwise(pts) if a is not None and b is not None], np.int64)
    steps = steps[steps > 0]
    middle = len(steps) // 2
    return int(np.partition(steps, middle)[middle]) if len(steps) else 0


def complete(pts: Sequence[int | None], step: int) -> list[int]:
    """Ascending times for frames in display order, one at least of which is known.

    A time that fits between those around it is kept. One that does not, or is missing, is put evenly between the
    nearest that are kept. Where the clock jumps, it goes on a step after the frame before.

    step: the usual one, more than 0.
    """
    known = [(number, time) for number, time in enumerate(pts) if time is not None]
    anchors = [known[0]]
    moved = 0
    for place, (number, told) in enumerate(known[1:], 1):
        before, time = anchors[-1]
        frames = number - before
        if not _follows(told + moved - time, frames, step):
            if place + 1 < len(known):
                after, later = known[place + 1]
                if _follows(later + moved - time, after - before, step):
                    continue  # this one alone is wrong
                if not _follows(later - told, after - number, step):
                    continue
            moved = time + frames * step - told
        anchors.append((number, told + moved))
    (first, start), (last, end) = anchors[0], anchors[-1]
    out = [start - (first - number) * step for number in range(first)]
    for (a, begin), (b, stop) in pairwise(anchors):
        out += [begin + (stop - begin) * (number - a) // (b - a) for number in range(a, b)]
    return out + [end + (number - last) * step for number in range(last, len(pts))]


def _follows(later: int, frames: int, step: int) -> bool:
    """Can a frame lie so much later than another, so many frames before it?"""
    return frames <= later <= frames * _LONGEST * step
