"""Frames between two sightings of a track: where it must have been, along the straight way."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class Filling:
    """Remembers where tracks were seen.

    Memory: a box for each track, and two numbers for each frame, of the last `lost_seconds`.
    """

    def __init__(self, lost_seconds: float) -> None:
        self._lost_seconds = lost_seconds
        self._last: dict[int, tuple[int, float, list[float]]] = {}
        self._frames: deque[tuple[int, float]] = deque()

    def skip(self, frame: int, time: float) -> None:
        """A frame on which nobody has looked."""
        self._frames.append((frame, time))

    def update(
        self, frame: int, time: float, tracks: Sequence[int], boxes: npt.NDArray[np.floating]
    ) -> list[dict[str, Any]]:
        """What was missed of tracks that are seen again on a frame: plain JSON values.

        tracks: (n,), -1 for none. boxes: (n, 4). Each gap has `track`, and `frames`, `times` and `boxes` of the frames
        in between; boxes are rounded to a hundredth of a pixel.
        """
        found = []
        for track, row in zip(tracks, boxes.tolist(), strict=True):
            if track < 0:
                continue
            if track in self._last:
                gap = self._between(track, time, row)
                if gap is not None:
                    found.append(gap)
            self._last[track] = (frame, time, row)
        self._frames.append((frame, time))
        self._last = {track: seen for track, seen in self._last.items() if seen[1] >= time - self._lost_seconds}
        oldest = min((seen[0] for seen in self._last.values()), default=frame)
        while self._frames and self._frames[0][0] <= oldest:
            self._frames.popleft()
        return found

    def reset(self) -> None:
        """All tracks have ended."""
        self._last = {}
        self._frames.clear()

    def _between(self, track: int, time: float, box: list[float]) -> dict[str, Any] | None:
        first, since, start = self._last[track]
        missed = [(number, then) for number, then in self._frames if number > first]
        if not missed or time <= since:
            return None
        shares = [(then - since) / (time - since) for _, then in missed]
        return {
            "track": track,
            "frames": [number for number, _ in missed],
            "times": [then for _, then in missed],
            "boxes": [[round(a + (b - a) * share, 2) for a, b in zip(start, box, strict=True)] for share in shares],
        }

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs."""
        return {
            "last": [[track, frame, time, box] for track, (frame, time, box) in self._last.items()],
            "frames": [list(pair) for pair in self._frames],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._last = {track: (frame, time, box) for track, frame, time, box in state["last"]}
        self._frames = deque((frame, time) for frame, time in state["frames"])
