"""`smooth`: boxes and keypoints of tracked objects tremble less (one-euro filter)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.results import FrameRecord, rounded_points
from cvpipe.sightings import FORGET_SECONDS, Followed, sightings
from cvpipe.stages import FollowingStage, StageOptions


class SmoothOptions(StageOptions):
    """Options of `smooth`."""

    type: Literal["smooth"] = "smooth"
    of: Followed = None
    min_cutoff: float = Field(
        default=1.0, gt=0, le=1000, description="Cut-off in Hz of what stands still; less is smoother, and lags more."
    )
    beta: float = Field(
        default=0.01, ge=0, le=100, description="How much the cut-off grows with speed (Hz per pixel/s): less lag."
    )
    derivative_cutoff: float = Field(default=1.0, gt=0, le=1000, description="Cut-off of the speed itself, in Hz.")


@dataclass(slots=True)
class _Filter:
    """A one-euro filter over some numbers. value, speed: as filtered, (n,) float64. time: of the last sample."""

    value: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    time: float


class Smooth(FollowingStage[SmoothOptions]):
    """Smooth the boxes and keypoints of tracked objects: steady at rest, quick to follow in motion.

    The one-euro filter (Casiez, Roussel, Vogel 2012) by time, so that any frame rate will do. Boxes are filtered as
    middle and size. A keypoint's score stays; a number of keypoints that changes begins anew.
    """

    Options = SmoothOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: track, of: people}
    - {type: smooth, of: people}
    """

    def __init__(self, options: SmoothOptions) -> None:
        super().__init__(options)
        self._filters: dict[int, _Filter] = {}

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with smooth boxes and keypoints."""
        if not self.looked(record):
            return record
        objects = record.objects
        boxes, points = objects.box.astype(np.float64), list(objects.keypoints)
        for seen in sightings(record, self.options.of):
            x1, y1, x2, y2 = boxes[seen.place]
            known = points[seen.place]
            numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
            if known is not None:
                numbers += known[:, :2].astype(np.float64).reshape(-1).tolist()
            value = self._step(seen.track, np.array(numbers), record.time)
            x, y, width, height = value[:4]
            boxes[seen.place] = x - width / 2, y - height / 2, x + width / 2, y + height / 2
            if known is not None:
                moved = np.concatenate([value[4:].reshape(-1, 2), known[:, 2:].astype(np.float64)], axis=1)
                points[seen.place] = rounded_points(moved)
        for track in [t for t, one in self._filters.items() if record.time - one.time > FORGET_SECONDS]:
            del self._filters[track]
        smooth = replace(objects, box=boxes.round(2).astype(np.float32), keypoints=tuple(points))
        return replace(record, objects=smooth) if len(objects) else record

    def state(self) -> Mapping[str, Any]:
        """The filter of each track."""
        return {
            "filters": [
                [track, one.value.tolist(), one.speed.tolist(), one.time] for track, one in self._filters.items()
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._filters = {
            track: _Filter(np.array(value), np.array(speed), time) for track, value, speed, time in state["filters"]
        }

    def _step(self, track: int, sample: npt.NDArray[np.float64], time: float) -> npt.NDArray[np.float64]:
        before = self._filters.get(track)
        if before is None or len(before.value) != len(sample) or time <= before.time:
            self._filters[track] = _Filter(sample, np.zeros(len(sample)), time)
            return sample
        seconds = time - before.time
        speed = before.speed + _weight(self.options.derivative_cutoff, seconds) * (
            (sample - before.value) / seconds - before.speed
        )
        cutoff = self.options.min_cutoff + self.options.beta * np.abs(speed)
        value = before.value + _weight(cutoff, seconds) * (sample - before.value)
        self._filters[track] = _Filter(value, speed, time)
        return value


def _weight(cutoff: Any, seconds: float) -> Any:
    """Of a new sample in an exponential filter of this cut-off."""
    turn = 2 * math.pi * cutoff * seconds
    return turn / (turn + 1)
