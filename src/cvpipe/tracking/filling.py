"""Frames between two sightings of a track: where it must have been, along the straight way."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class _Seen(NamedTuple):
    """Where and when a track was seen last. box: x1, y1, x2, y2."""

    frame: int
    time: float
    box: list[float]
    score: float


@dataclass(frozen=True, slots=True)
class FilledGap:
    """What was missed of a track that is seen again.

    place: of the object that it is now, among those given. frames: numbers of the frames in between. boxes: (k, 4),
    where it was on each, to a hundredth of a pixel. score: the lesser one of both ends.
    """

    place: int
    frames: Sequence[int]
    boxes: Sequence[Sequence[float]]
    score: float


class Filling:
    """Remembers where tracks were seen.

    Memory: a box for each track, and two numbers for each frame, of the last `lost_seconds`.
    """

    def __init__(self, lost_seconds: float) -> None:
        self._lost_seconds = lost_seconds
        self._last: dict[int, _Seen] = {}
        self._frames: deque[tuple[int, float]] = deque()

    def skip(self, frame: int, time: float) -> None:
        """A frame on which nobody has looked."""
        self._pass(frame, time)

    def update(
        self,
        frame: int,
        time: float,
        tracks: Sequence[int],
        boxes: npt.NDArray[np.floating],
        scores: npt.NDArray[np.floating],
    ) -> list[FilledGap]:
        """What was missed of tracks that are seen again on a frame, after `lost_seconds` at most.

        tracks: (n,), -1 for none. boxes: (n, 4). scores: (n,).
        """
        found = []
        for place, (track, box, score) in enumerate(zip(tracks, boxes.tolist(), scores.tolist(), strict=True)):
            if track < 0:
                continue
            now = _Seen(frame, time, box, score)
            before = self._last.get(track)
            if before is not None and (gap := self._between(place, before, now)) is not None:
                found.append(gap)
            self._last[track] = now
        self._pass(frame, time)
        return found

    def first_open(self, frame: int) -> int:
        """The first frame that a gap may still be filled on. frame: the one that came last."""
        return min([seen.frame for seen in self._last.values()], default=frame) + 1

    def reset(self) -> None:
        """All tracks have ended."""
        self._last = {}
        self._frames.clear()

    def _pass(self, frame: int, time: float) -> None:
        self._frames.append((frame, time))
        self._last = {track: seen for track, seen in self._last.items() if time - seen.time <= self._lost_seconds}
        first = self.first_open(frame)
        while self._frames and self._frames[0][0] < first:
            self._frames.popleft()

    def _between(self, place: int, start: _Seen, end: _Seen) -> FilledGap | None:
        missed = [(number, then) for number, then in self._frames if number > start.frame]
        if not missed or not 0 < end.time - start.time <= self._lost_seconds:
            return None
        shares = [(then - start.time) / (end.time - start.time) for _, then in missed]
        return FilledGap(
            place=place,
            frames=[number for number, _ in missed],
            boxes=[
                [round(a + (b - a) * share, 2) for a, b in zip(start.box, end.box, strict=True)] for share in shares
            ],
            score=min(start.score, end.score),
        )

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs."""
        return {
            "last": [[track, *seen] for track, seen in self._last.items()],
            "frames": [list(pair) for pair in self._frames],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._last = {track: _Seen(*seen) for track, *seen in state["last"]}
        self._frames = deque((frame, time) for frame, time in state["frames"])
