"""OC-SORT: what was seen counts more than what the filter has made of it.

Source: Cao et al., Observation-Centric SORT: Rethinking SORT for Robust Multi-Object Tracking, 2023,
https://arxiv.org/abs/2203.14360. Its three ideas:

- momentum: a pair is worth more where the way to the box continues the way that the track was seen to go;
- recovery: tracks that are left are compared with boxes where they were seen last, not where they are expected;
- re-update: a track that is found again gets its filter as if it had been seen all along the straight way in between.

Rounds of low scores and of reach are ByteTrack's (see `byte`); unconfirmed tracks take part in the first round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.tracking import motion
from cvpipe.tracking.byte import TENTATIVE_IOU, ByteTracker, Thresholds
from cvpipe.tracking.matching import Assign, Indices, Matching
from cvpipe.tracking.overlap import Boxes, iou

_WEIGHT: Final = 0.2
"""Of the direction, beside the overlap: the paper's."""
_LOOKS: Final = 3
"""How many looks back the way that a track was seen to go begins: the paper's."""
_BACK_SECONDS: Final = 0.5
_RECOVERY_IOU: Final = 0.3
_LEAST_WORTH: Final = 1e-6


class OcSortTracker(ByteTracker):
    """The tracks of one video. Memory: 500 bytes for each track seen within `lost_seconds`."""

    def __init__(self, thresholds: Thresholds, assign: Assign) -> None:
        super().__init__(thresholds, assign)
        self._past = np.zeros((0, _LOOKS, 5))  # time, centre x, centre y, width, height; the last look comes last
        self._before = motion.empty()  # the states after the last look
        self._missed = np.zeros(0, np.int64)  # frames since

    def _move(self, camera: npt.NDArray[np.float64]) -> None:
        super()._move(camera)
        motion.warp(self._before, camera)
        area = abs(float(np.linalg.det(camera[:, :2])))
        self._past[:, :, 1:3] = self._past[:, :, 1:3] @ camera[:, :2].T + camera[:, 2]
        self._past[:, :, 3:] *= area**0.5

    def _associate(
        self, boxes: Boxes, scores: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.intp]:
        limits = self._limits
        found = Matching(self._assign, len(self._id), len(boxes))
        if not len(boxes) or not len(self._id):
            return found.box_of_track
        same_kind = self._kind[:, None] == kinds
        overlap = iou(self._states[motion.POSITION], boxes) * same_kind
        is_high = scores >= limits.high
        is_low = ~is_high & (scores >= limits.low)
        confirmed = self._id > 0
        least = np.where(confirmed, limits.match_iou, TENTATIVE_IOU)[:, None]
        likeness = overlap * scores
        # A pair that overlaps too little is none, whichever way it lies; one that overlaps enough is one.
        worth = np.maximum(likeness - least + _WEIGHT * self._momentum(boxes) * scores, _LEAST_WORTH)
        found.match(np.where(likeness > least, worth, 0), np.ones(len(self._id), bool), is_high)
        if is_low.any():
            found.match(overlap - limits.low_iou, confirmed, is_low)
        found.match(iou(self._past[:, -1, 1:], boxes) * same_kind - _RECOVERY_IOU, confirmed, is_high)
        self._reach(found, boxes, scores, is_high, same_kind)
        return found.box_of_track

    def _momentum(self, boxes: Boxes) -> npt.NDArray[np.float64]:
        """(tracks, boxes): how well the way to each box continues the track's, from 1/2 down to -1/2; 0: not known."""
        last = self._past[:, -1]
        recent = self._past[:, :, 0] >= last[:, :1] - _BACK_SECONDS
        first = self._past[np.arange(len(last)), recent.argmax(axis=1)]
        gone = last[:, 1:3] - first[:, 1:3]
        ahead = boxes[None, :, :2] - last[:, None, 1:3]
        lengths = np.hypot(gone[:, 0], gone[:, 1])[:, None] * np.hypot(ahead[..., 0], ahead[..., 1])
        cosine = (gone[:, None] * ahead).sum(axis=2) / np.maximum(lengths, 1e-12)
        angle = np.arccos(np.clip(cosine, -1, 1))
        momentum: npt.NDArray[np.float64] = np.where(lengths > 1e-9, 0.5 - angle / np.pi, 0)
        return momentum

    def _take(self, box_of_track: npt.NDArray[np.intp], boxes: Boxes, time: float) -> None:
        rows = np.flatnonzero(box_of_track >= 0)
        again = rows[self._missed[rows] > 0]
        if len(again):
            self._update_again(again, boxes[box_of_track[again]], time)
        super()._take(box_of_track, boxes, time)
        self._missed += 1
        if len(rows):
            seen = np.concatenate((np.full((len(rows), 1), time), boxes[box_of_track[rows]]), axis=1)
            self._past[rows] = np.concatenate((self._past[rows, 1:], seen[:, None]), axis=1)
            self._before[:, rows] = self._states[:, rows]
            self._missed[rows] = 0

    def _update_again(self, rows: Indices, boxes: Boxes, time: float) -> None:
        """Go back to when each track was seen last, and forward along the straight way to its new box."""
        for row, box in zip(rows.tolist(), boxes, strict=True):
            start, steps = self._past[row, -1], int(self._missed[row]) + 1
            state = self._before[:, row : row + 1].copy()
            seconds = (time - start[0]) / steps
            for step in range(1, steps + 1):
                motion.predict(state, seconds)
                if step < steps:
                    state = motion.correct(state, (start[1:] + (box - start[1:]) * (step / steps))[None])
            self._states[:, row] = state[:, 0]

    def _keep(self, rows: Indices) -> None:
        super()._keep(rows)
        self._past, self._before, self._missed = self._past[rows], self._before[:, rows], self._missed[rows]

    def _begin(
        self, boxes: Boxes, kinds: npt.NDArray[np.int64], time: float, *, confirmed: bool, chosen: Indices
    ) -> npt.NDArray[np.int64]:
        seen = np.concatenate((np.full((len(boxes), 1), time), boxes), axis=1)
        self._past = np.concatenate((self._past, np.repeat(seen[:, None], _LOOKS, axis=1)))
        self._before = np.concatenate((self._before, motion.begin(boxes)), axis=1)
        self._missed = np.concatenate((self._missed, np.zeros(len(boxes), np.int64)))
        return super()._begin(boxes, kinds, time, confirmed=confirmed, chosen=chosen)

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs."""
        return {
            **super().state(),
            "past": self._past.ravel().tolist(),
            "before": self._before.ravel().tolist(),
            "missed": self._missed.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().restore(state)
        self._past = np.array(state["past"], np.float64).reshape(-1, _LOOKS, 5)
        self._before = np.array(state["before"], np.float64).reshape(motion.ROWS, len(self._id), 4)
        self._missed = np.array(state["missed"], np.int64)
