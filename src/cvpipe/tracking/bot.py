"""BoT-SORT: ByteTrack that moves with the camera, and looks at what boxes look like.

Source: Aharon, Orfaig, Bobrovsky, BoT-SORT: Robust Associations Multi-Pedestrian Tracking, 2022,
https://arxiv.org/abs/2206.14651. Its filter of width and height is the one of all trackers here. As there, a track's
looks are a running mean, and count where the box is near: the likeness of a pair is that of place or that of looks,
whichever is greater. Not as there: the last round, of boxes that are further away, refuses pairs that look different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.tracking.byte import ByteTracker, Thresholds, Vectors
from cvpipe.tracking.matching import Assign, Indices, Matching
from cvpipe.tracking.overlap import Boxes

_KEPT: Final = 0.9
"""Of a track's looks, each time that it is seen: the paper's."""
_NEAR: Final = 0.5
"""Least IoU at which looks count: the paper's."""


class BotSortTracker(ByteTracker):
    """The tracks of one video. Memory: as ByteTracker's, and 8 bytes for each number of a track's looks."""

    def __init__(self, thresholds: Thresholds, assign: Assign, *, alike: float) -> None:
        """alike: least cosine of two boxes that look alike."""
        super().__init__(thresholds, assign)
        self._alike = alike
        self._mean: Vectors = np.zeros((0, 0))

    def _likeness(self, overlap: npt.NDArray[np.float64], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        by_place = super()._likeness(overlap, scores)
        cosine = self._cosine()
        # Half of one less the cosine is the paper's distance; the likeness is what is left of 1.
        by_looks = np.where((overlap >= _NEAR) & (cosine >= self._alike), (1 + cosine) / 2, 0)
        return np.maximum(by_place, by_looks)

    def _reach(
        self,
        found: Matching,
        boxes: Boxes,
        scores: npt.NDArray[np.float32],
        is_high: npt.NDArray[np.bool_],
        same_kind: npt.NDArray[np.bool_],
    ) -> None:
        cosine = self._cosine()
        known = self._known()
        super()._reach(found, boxes, scores, is_high, same_kind & ((cosine >= self._alike) | ~known))

    def _known(self) -> npt.NDArray[np.bool_]:
        """(tracks, boxes): whether the looks of both are known."""
        return np.any(self._tall(self._mean), axis=1, keepdims=True) & np.any(self._looks, axis=1, keepdims=True).T

    def _cosine(self) -> npt.NDArray[np.float64]:
        """(tracks, boxes): 0 where the looks of one are not known."""
        cosine: npt.NDArray[np.float64] = np.einsum("td,bd->tb", self._tall(self._mean), self._looks)
        return cosine

    def _tall(self, vectors: Vectors) -> Vectors:
        """The vectors in as many dimensions as this frame's; zeros where theirs are others."""
        if vectors.shape[1] == self._looks.shape[1]:
            return vectors
        return np.zeros((len(vectors), self._looks.shape[1]))

    def _take(self, box_of_track: npt.NDArray[np.intp], boxes: Boxes, time: float) -> None:
        super()._take(box_of_track, boxes, time)
        if not self._looks.shape[1]:
            return
        mean = self._tall(self._mean).copy()
        rows = np.flatnonzero(box_of_track >= 0)
        looks = self._looks[box_of_track[rows]]
        seen = np.flatnonzero((looks**2).sum(axis=1) > 0)
        rows, looks = rows[seen], looks[seen]
        is_new = (mean[rows] ** 2).sum(axis=1, keepdims=True) == 0
        mixed = np.where(is_new, looks, _KEPT * mean[rows] + (1 - _KEPT) * looks)
        mean[rows] = mixed / np.sqrt((mixed**2).sum(axis=1))[:, None]
        self._mean = mean

    def _keep(self, rows: Indices) -> None:
        super()._keep(rows)
        self._mean = self._mean[rows]

    def _begin(
        self, boxes: Boxes, kinds: npt.NDArray[np.int64], time: float, *, confirmed: bool, chosen: Indices
    ) -> npt.NDArray[np.int64]:
        self._mean = np.concatenate((self._tall(self._mean), self._looks[chosen]))
        return super()._begin(boxes, kinds, time, confirmed=confirmed, chosen=chosen)

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs."""
        return {**super().state(), "mean": self._mean.ravel().tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().restore(state)
        self._mean = (
            np.array(state["mean"], np.float64).reshape(len(self._id), -1) if len(self._id) else np.zeros((0, 0))
        )
