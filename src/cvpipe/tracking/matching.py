"""Which track gets which box of a frame: in rounds, each with what the ones before left over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Assign = Callable[..., tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]
"""Optimal assignment with SciPy's signature: `(value, maximize=True) -> (rows, columns)`."""
Indices = npt.NDArray[np.intp]
Which = npt.NDArray[np.bool_]


class Matching:
    """The pairs found so far.

    box_of_track: (tracks,), the number of each track's box, -1 while it has none. free: (boxes,), those without.
    """

    def __init__(self, assign: Assign, tracks: int, boxes: int) -> None:
        self._assign = assign
        self.box_of_track = np.full(tracks, -1, np.intp)
        self.free = np.ones(boxes, bool)

    def match(self, worth: npt.NDArray[np.float64], tracks: Which, boxes: Which) -> None:
        """A round: pair tracks and boxes that are left, for the greatest sum of worths; only of positive worth.

        worth: (tracks, boxes). tracks, boxes: which take part.
        """
        rows, columns = np.flatnonzero(tracks & (self.box_of_track < 0)), np.flatnonzero(boxes & self.free)
        if not len(rows) or not len(columns):
            return
        found_rows, found_columns = self._pairs(worth[rows[:, None], columns])
        self.box_of_track[rows[found_rows]] = columns[found_columns]
        self.free[columns[found_columns]] = False

    def _pairs(self, worth: npt.NDArray[np.float64]) -> tuple[Indices, Indices]:
        good = worth > 0
        if good.sum(axis=0).max() <= 1 and good.sum(axis=1).max() <= 1:
            rows, columns = np.nonzero(good)  # nobody competes: no need to search
            return rows, columns
        # Worthless pairs count nothing, so that no good pair is broken up to make another possible.
        rows, columns = self._assign(np.maximum(worth, 0), maximize=True)
        keep = good[rows, columns]
        return rows[keep], columns[keep]
