"""`periodic`: what comes back at a steady rate: flickering light, and things that move to and fro."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, View
from cvpipe.results import Found
from cvpipe.stages import PictureStage, StageOptions

_SIDE = 48


class PeriodicOptions(StageOptions):
    """Options of `periodic`."""

    type: Literal["periodic"] = "periodic"
    frames: int = Field(
        default=64,
        ge=16,
        le=250,
        description="Frames looked at together: this one and those before it. So many are looked at again at the "
        "beginning of each chunk.",
    )
    min_cycles: float = Field(
        default=2, ge=1.5, le=100, description="What repeats must have been seen so often within these frames."
    )
    min_amplitude: float = Field(
        default=0.5, ge=0, le=255, description="Least deviation in grey levels (root mean square); noise is less."
    )


class Periodic(PictureStage[PeriodicOptions]):
    """Find what repeats: flicker of the whole picture, and motion to and fro in parts of it.

    Values, under the stage's name: `flicker`, of the mean grey, and `motion`, of the pixels beside it, each
    `{"frequency", "amplitude", "strength"}`: cycles per second; root mean square in grey levels; the wave's share of
    all that varies, 0 to 1; the frequency is null where less than `min_amplitude` varies. Both are null until enough
    frames were seen. Looks at a picture of at most 48 pixels a side. Rates above half the frame rate (light at 100 Hz)
    appear folded below it.
    """

    Options = PeriodicOptions
    example = """
    - {type: periodic, frames: 100, min_amplitude: 1}
    """

    _pictures: deque[npt.NDArray[np.float32]]
    _times: deque[float]

    @property
    def memory(self) -> int:
        """The frames that are looked at together."""
        return self.options.frames - 1

    def view(self, upstream: View) -> View:
        """A very small grey picture of what the steps before made, without padding."""
        view = upstream.cropped(*upstream.region).with_format("gray")
        return view if max(view.width, view.height) <= _SIDE else view.resized(_SIDE, _SIDE)

    def begin(self) -> None:
        """Forget the frames before."""
        self._pictures, self._times = deque(maxlen=self.options.frames), deque(maxlen=self.options.frames)

    def look(self, frame: Frame) -> Found:
        """`flicker` and `motion`."""
        self._pictures.append(frame.shown.astype(np.float32).ravel())
        self._times.append(frame.time)
        if len(self._times) < self.options.frames:
            return Found(values={self.name: {"flicker": None, "motion": None}})
        pictures = self._even()
        mean = pictures.mean(axis=1, keepdims=True)
        value = {"flicker": self._repeats(mean), "motion": self._repeats(pictures - mean)}
        return Found(values={self.name: value})

    def _even(self) -> npt.NDArray[np.float64]:
        """The pictures at even steps of time, (frames, pixels), between frames by straight lines."""
        pictures, times = np.stack(self._pictures).astype(np.float64), np.array(self._times)
        wanted = np.linspace(times[0], times[-1], len(times))
        after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
        share = ((wanted - times[after - 1]) / (times[after] - times[after - 1]))[:, None]
        even: npt.NDArray[np.float64] = (1 - share) * pictures[after - 1] + share * pictures[after]
        return even

    def _repeats(self, signals: npt.NDArray[np.float64]) -> dict[str, Any]:
        """The strongest wave in signals (frames, n), all together."""
        count = len(signals)
        window = np.hanning(count + 2)[1:-1, None]
        # A slow drift is no wave: the straight line through each signal is taken away.
        slope = np.linspace(-1, 1, count)[:, None]
        signals = signals - signals.mean(axis=0) - slope * (slope * signals).sum(axis=0) / (slope**2).sum()
        amplitude = round(float(np.sqrt((signals**2).mean())), 3)
        nothing = {"frequency": None, "amplitude": amplitude, "strength": 0.0}
        if amplitude < self.options.min_amplitude:
            return nothing
        power = (np.abs(np.fft.rfft(signals * window, axis=0)) ** 2).sum(axis=1)
        first = int(np.ceil(self.options.min_cycles))
        total = float(power[1:].sum())
        if first + 1 >= len(power) or total <= 0:
            return nothing
        top = first + int(power[first:].argmax())
        near = np.arange(max(1, top - 1), min(len(power), top + 2))
        part = power[near]
        cycles = float(near @ part) / float(part.sum())
        # `count` pictures at even steps: a wave of one cycle takes count steps.
        step = (self._times[-1] - self._times[0]) / (count - 1)
        return {
            "frequency": round(cycles / (count * step), 4),
            "amplitude": amplitude,
            "strength": round(float(part.sum()) / total, 4),
        }
