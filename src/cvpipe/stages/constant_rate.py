"""`constant_rate`: look at what is shown at each tick of an even clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import TIME_STEP, Timeline
from cvpipe.stages import Selector, StageOptions


class ConstantRateOptions(StageOptions):
    """Options of `constant_rate`."""

    type: Literal["constant_rate"] = "constant_rate"
    fps: float = Field(gt=0, le=1000, description="Ticks per second. Tick k is k/fps seconds after the first frame.")


class ConstantRate(Selector[ConstantRateOptions]):
    """Look at the frame that is shown at each tick of an even clock, once; what no tick shows is left out.

    A tick shows the last frame that begins at or before it. Values, under the stage's name, of each frame looked at:
    `first_tick`, the first one that shows it, and `ticks`, how many do.
    """

    Options = ConstantRateOptions
    example = """
    - {type: constant_rate, fps: 25}
    - {type: edges}
    """

    def select(self, frames: Timeline) -> npt.NDArray[np.bool_]:
        """Keep the frames that a tick shows."""
        _, ticks = self._shown(frames)
        return ticks > 0

    def values(self, frames: Timeline) -> Mapping[int, Any]:
        """`first_tick` and `ticks` of each frame that a tick shows."""
        first, ticks = self._shown(frames)
        keep = ticks > 0
        return _Ticks(frames.number[keep], first[keep], ticks[keep])

    def summary(self, frames: Timeline) -> Mapping[str, Any]:
        """How many ticks there are, how many frames they show, how many they repeat, how many frames none shows."""
        _, ticks = self._shown(frames)
        total, used = int(ticks.sum()), int((ticks > 0).sum())
        return {"ticks": total, "frames": used, "repeated": total - used, "dropped": len(frames) - used}

    def _shown(self, frames: Timeline) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each frame the first tick at or after it, and how many ticks there are before the next one's, (n,)."""
        if not len(frames):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        # A frame whose end is not known is there at its own time at least.
        end = max(float(frames.stop[-1]), float(frames.time[-1]) + 2 * TIME_STEP)
        # Times are rounded: a frame at 0.016667 s is there for tick 1 at 60 fps.
        first = np.ceil((np.append(frames.time, end) - TIME_STEP) * self.options.fps).astype(np.int64)
        return first[:-1], np.diff(first)


class _Ticks(Mapping[int, Any]):
    """Values by frame number, kept as arrays: 24 bytes for each of maybe hundreds of thousands of frames."""

    def __init__(
        self, number: npt.NDArray[np.int64], first: npt.NDArray[np.int64], ticks: npt.NDArray[np.int64]
    ) -> None:
        self._number, self._first, self._ticks = number, first, ticks

    def __getitem__(self, number: int) -> dict[str, int]:
        at = int(np.searchsorted(self._number, number))
        if at == len(self._number) or self._number[at] != number:
            raise KeyError(number)
        return {"first_tick": int(self._first[at]), "ticks": int(self._ticks[at])}

    def __iter__(self) -> Iterator[int]:
        return iter(self._number.tolist())

    def __len__(self) -> int:
        return len(self._number)
