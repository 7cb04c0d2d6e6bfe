"""ByteTrack: associate nearly every box, the doubtful ones after the sure ones.

Source: Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every Detection Box, 2022,
https://arxiv.org/abs/2110.06864. The rounds of one frame, each with what the ones before left over:

1. confirmed tracks, the lost ones too, with boxes of a high score: IoU times score;
2. confirmed tracks with boxes of a low score: IoU;
3. tracks not confirmed yet, with boxes of a high score: IoU times score;
4. where `reach` is above 0: all tracks with boxes of a high score, both grown: IoU times score.

Boxes of a high score that are left begin a track. All rounds compare with where the Kalman filter expects the tracks.

Two things are not ByteTrack's. Its round 2 takes only tracks seen on the frame before; with the lost ones in it, what
stays half hidden for long is found again sooner, and in drawn crowds numbers change less often. The other is round 4: a
small, fast object, or one seen five times a second, hardly overlaps with where it was while its speed is not known.
C-BIoU (Yang et al. 2023, https://arxiv.org/abs/2211.14317) grows boxes by a fixed share of their size for that; here
they grow by the filter's own doubt, which is small at 30 frames per second and for tracks whose speed is known, and as
large as it must be elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.tracking import motion
from cvpipe.tracking.matching import Assign, Indices, Matching
from cvpipe.tracking.overlap import Boxes, iou

Vectors = npt.NDArray[np.float64]
"""(n, d): what each box looks like, of length 1; zeros where nothing is known."""

TENTATIVE_IOU: Final = 0.3
"""As in ByteTrack's code: a track's second sighting needs more overlap than later ones."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When boxes and tracks belong together; the defaults are ByteTrack's, but for `low_iou` (0.5) and `reach`.

    high, low: scores that split the boxes; below `low` they are ignored. begin: least score that begins a track.
    match_iou: least IoU times score in rounds 1 and 4. low_iou: least IoU in round 2. reach: how many standard
    deviations of the track's expected position boxes are grown by on each side in round 4; 0 leaves the round out.
    lost_seconds: how long a track may go unseen. min_hits: how often in a row a track must be seen before it is
    confirmed and gets its id.
    """

    high: float = 0.5
    low: float = 0.1
    begin: float = 0.6
    match_iou: float = 0.2
    low_iou: float = 0.4
    reach: float = 2.0
    lost_seconds: float = 1.0
    min_hits: int = 2


class ByteTracker:
    """The tracks of one video. Memory: 200 bytes for each track seen within `lost_seconds`."""

    def __init__(self, thresholds: Thresholds, assign: Assign) -> None:
        self._limits = thresholds
        self._assign = assign
        self._time: float | None = None
        self._next_id = 1
        self._states = motion.empty()
        self._id = np.zeros(0, np.int64)  # 0: not confirmed yet
        self._kind = np.zeros(0, np.int64)
        self._hits = np.zeros(0, np.int64)
        self._seen = np.zeros(0)
        self._looks: Vectors = np.zeros((0, 0))

    def update(
        self,
        boxes: Boxes,
        scores: npt.NDArray[np.float32],
        kinds: npt.NDArray[np.int64],
        time: float,
        *,
        looks: Vectors | None = None,
        camera: npt.NDArray[np.float64] | None = None,
    ) -> npt.NDArray[np.int32]:
        """The track id of each box of the next frame, (n,); -1 where it has none (yet).

        boxes: (n, 4) centre x, centre y, width, height in pixels. scores: (n,). kinds: (n,); boxes of different kinds
        are never in one track. time: seconds; not before the last one. looks: what the boxes look like, for trackers
        that make use of it. camera: (2, 3), where the camera's motion has moved what was at a pixel of the frame
        before; None: it stood still.
        """
        first = self._time is None
        if self._time is not None:
            motion.predict(self._states, max(0.0, time - self._time))
            if camera is not None:
                self._move(camera)
        self._time = time
        self._looks = np.zeros((len(boxes), 0)) if looks is None else looks
        box_of_track = self._associate(boxes, scores, kinds)
        self._take(box_of_track, boxes, time)
        ids = np.full(len(boxes), -1, np.int32)
        taken = np.zeros(len(boxes), bool)
        seen = box_of_track >= 0
        taken[box_of_track[seen]] = True
        ids[box_of_track[seen]] = np.where(self._id[seen] > 0, self._id[seen], -1)
        self._forget(seen, time)
        new = np.flatnonzero(~taken & (scores >= self._limits.begin))
        if len(new):
            # Nothing came before the first frame that could have confirmed what is seen on it.
            ids[new] = self._begin(
                boxes[new], kinds[new], time, confirmed=first or self._limits.min_hits <= 1, chosen=new
            )
        return ids

    def reset(self) -> None:
        """End all tracks: what comes next is a new scene, as at the beginning. Ids go on."""
        self._time = None
        self._keep(np.zeros(0, np.intp))

    def _move(self, camera: npt.NDArray[np.float64]) -> None:
        """Move all that is remembered in pixels as the camera has moved the picture."""
        motion.warp(self._states, camera)

    def _associate(
        self, boxes: Boxes, scores: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.intp]:
        """For each track the number of its box, or -1."""
        limits, confirmed = self._limits, self._id > 0
        found = Matching(self._assign, len(self._id), len(boxes))
        if not len(boxes) or not len(self._id):
            return found.box_of_track
        same_kind = self._kind[:, None] == kinds
        likeness = iou(self._states[motion.POSITION], boxes) * same_kind
        sure_likeness = self._likeness(likeness, scores)
        is_high = scores >= limits.high
        is_low = ~is_high & (scores >= limits.low)
        found.match(sure_likeness - limits.match_iou, confirmed, is_high)
        if is_low.any():
            found.match(likeness - limits.low_iou, confirmed, is_low)
        if not confirmed.all():
            found.match(sure_likeness - TENTATIVE_IOU, ~confirmed, is_high)
        self._reach(found, boxes, scores, is_high, same_kind)
        return found.box_of_track

    def _likeness(self, overlap: npt.NDArray[np.float64], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """How alike tracks and boxes are, (tracks, boxes), from how much they overlap."""
        return overlap * scores

    def _reach(
        self,
        found: Matching,
        boxes: Boxes,
        scores: npt.NDArray[np.float32],
        is_high: npt.NDArray[np.bool_],
        same_kind: npt.NDArray[np.bool_],
    ) -> None:
        """The last round: all tracks and sure boxes that are left, grown by the filter's doubt."""
        reach = self._limits.reach
        if reach > 0 and (found.box_of_track < 0).any() and (found.free & is_high).any():
            margin = reach * motion.doubt(self._states)
            grown = iou(self._states[motion.POSITION], boxes, margin=margin) * same_kind * scores
            found.match(grown - self._limits.match_iou, np.ones(len(self._id), bool), is_high)

    def _take(self, box_of_track: npt.NDArray[np.intp], boxes: Boxes, time: float) -> None:
        """Correct the tracks that have a box, confirm those that were seen often enough."""
        rows = np.flatnonzero(box_of_track >= 0)
        if not len(rows):
            return
        self._states[:, rows] = motion.correct(self._states[:, rows], boxes[box_of_track[rows]])
        self._hits[rows] += 1
        self._seen[rows] = time
        for row in rows[(self._id[rows] == 0) & (self._hits[rows] >= self._limits.min_hits)]:
            self._id[row] = self._next_id
            self._next_id += 1

    def _forget(self, seen: npt.NDArray[np.bool_], time: float) -> None:
        """Drop unseen tracks that were never confirmed or were last seen too long ago."""
        if seen.all():
            return
        # A lost box keeps its course but not its growth, which was often the half-hidden box's shrinking.
        self._states[motion.VELOCITY, ~seen, 2:] = 0
        keep = seen | ((self._id > 0) & (time - self._seen <= self._limits.lost_seconds))
        if not keep.all():
            self._keep(np.flatnonzero(keep))

    def _keep(self, rows: Indices) -> None:
        self._states = self._states[:, rows]
        self._id, self._kind = self._id[rows], self._kind[rows]
        self._hits, self._seen = self._hits[rows], self._seen[rows]

    def _begin(
        self,
        boxes: Boxes,
        kinds: npt.NDArray[np.int64],
        time: float,
        *,
        confirmed: bool,
        chosen: Indices,  # noqa: ARG002 - for trackers that remember more of them
    ) -> npt.NDArray[np.int64]:
        """Begin tracks; their ids, -1 where not confirmed. chosen: which of the frame's boxes these are."""
        n = len(boxes)
        ids = np.zeros(n, np.int64)
        if confirmed:
            ids = np.arange(self._next_id, self._next_id + n)
            self._next_id += n
        self._states = np.concatenate((self._states, motion.begin(boxes)), axis=1)
        self._id = np.concatenate((self._id, ids))
        self._kind = np.concatenate((self._kind, kinds))
        self._hits = np.concatenate((self._hits, np.ones(n, np.int64)))
        self._seen = np.concatenate((self._seen, np.full(n, time)))
        return np.where(ids > 0, ids, -1)

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs, as plain numbers and lists; floats are exact in MessagePack."""
        return {
            "time": self._time,
            "next_id": self._next_id,
            "states": self._states.ravel().tolist(),
            "id": self._id.tolist(),
            "kind": self._kind.tolist(),
            "hits": self._hits.tolist(),
            "seen": self._seen.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._time = state["time"]
        self._next_id = state["next_id"]
        self._id = np.array(state["id"], np.int64)
        self._states = np.array(state["states"], np.float64).reshape(motion.ROWS, len(self._id), 4)
        self._kind = np.array(state["kind"], np.int64)
        self._hits = np.array(state["hits"], np.int64)
        self._seen = np.array(state["seen"], np.float64)
