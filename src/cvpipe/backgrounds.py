"""Background models: which pixels differ from what was there before, learned frame by frame.

OpenCV has both of these, but keeps what it has learned to itself; here it can be handed from one process to another
after any frame, so that a video cut into chunks gives what it gives in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]
"""(n, 3), the pixels of a picture."""

BACKGROUND: Final = 0
SHADOW: Final = 1
FOREGROUND: Final = 2

_DARKEST_SHADOW: Final = 0.5


class BackgroundModel(Protocol):
    """Learns what a scene looks like."""

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What each pixel of the next picture is: BACKGROUND, SHADOW or FOREGROUND; and learn from it.

        pixels: (n, 3) uint8, of equal n for each picture. Returns (n,).
        """

    def background(self) -> npt.NDArray[np.uint8]:
        """What the scene looks like without what moves, (n, 3)."""

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """What `restore` needs."""

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state."""


class Mixture:
    """A mixture of Gaussians for each pixel (Zivkovic 2004), as OpenCV's MOG2 with its defaults.

    Memory: 100 bytes for each pixel.
    """

    _MODES: Final = 5
    _FIT: Final = 9.0  # squared deviations within which a pixel belongs to a mode
    _SHARE: Final = 0.9  # of the weights, that are background
    _FIRST_VARIANCE: Final = 15.0
    _LEAST_VARIANCE: Final = 4.0
    _MOST_VARIANCE: Final = 75.0
    _PRIOR: Final = 0.05  # against modes that nothing supports

    def __init__(self, *, history: int, threshold: float) -> None:
        """history: frames after which half of what was learned is gone, about. threshold: squared deviations."""
        self._history, self._threshold = history, threshold
        self._seen = 0
        self._weight = self._variance = np.zeros((self._MODES, 0), np.float32)
        self._mean = np.zeros((self._MODES, 0, 3), np.float32)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `BackgroundModel`."""
        values = pixels.astype(np.float32)
        if not self._seen:
            self._weight = np.zeros((self._MODES, len(values)), np.float32)
            self._variance = np.full((self._MODES, len(values)), self._FIRST_VARIANCE, np.float32)
            self._mean = np.zeros((self._MODES, len(values), 3), np.float32)
        self._seen += 1
        rate = np.float32(1 / min(2 * self._seen, self._history))
        known = self._weight > 0
        off = self._mean - values
        distance = np.einsum("mpc,mpc->mp", off, off)
        fits = known & (distance < self._FIT * self._variance)
        first = np.where(fits.any(axis=0), fits.argmax(axis=0), self._MODES)
        weight = np.where(known, (1 - rate) * self._weight - rate * np.float32(self._PRIOR), 0)
        is_fit = np.arange(self._MODES)[:, None] == first
        weight += rate * is_fit
        weight = np.where(weight < rate * np.float32(self._PRIOR), np.float32(0), weight).astype(np.float32)
        before = np.cumsum(weight, axis=0, dtype=np.float32) - weight
        looked_at = known & (np.arange(self._MODES)[:, None] <= first)
        is_background = (looked_at & (before < self._SHARE) & (distance < self._threshold * self._variance)).any(axis=0)
        kinds = np.where(is_background, BACKGROUND, FOREGROUND).astype(np.uint8)
        self._move(is_fit & (weight > 0), off, distance, weight, rate)
        self._sort(weight, is_fit)
        self._begin_modes(values, first == self._MODES, rate)
        foreground = np.flatnonzero(kinds == FOREGROUND)
        kinds[foreground[self._is_shadow(values[foreground], foreground)]] = SHADOW
        return kinds

    def background(self) -> npt.NDArray[np.uint8]:
        """The means of the modes that are background, weighted."""
        weight = np.where(self._is_background(self._weight), self._weight, 0)[..., None]
        total = np.maximum(weight.sum(axis=0), np.float32(1e-9))
        picture: npt.NDArray[np.uint8] = np.clip(np.round((weight * self._mean).sum(axis=0) / total), 0, 255)
        return picture.astype(np.uint8)

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """Weights, variances and means of all modes; how many pictures were seen."""
        return {
            "weight": self._weight, "variance": self._variance, "mean": self._mean, "seen": np.array(self._seen),
        }  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """See `BackgroundModel`."""
        self._weight, self._variance = state["weight"].copy(), state["variance"].copy()
        self._mean, self._seen = state["mean"].copy(), int(state["seen"])

    def _move(
        self, fit: npt.NDArray[np.bool_], off: Pixels, distance: Pixels, weight: Pixels, rate: np.float32
    ) -> None:
        """The mode that a pixel belongs to moves towards it."""
        step = rate / weight[fit]
        self._mean[fit] -= step[:, None] * off[fit]
        variance = self._variance[fit]
        moved = variance + step * (distance[fit] - variance)
        self._variance[fit] = np.clip(moved, self._LEAST_VARIANCE, self._MOST_VARIANCE)

    def _sort(self, weight: Pixels, is_fit: npt.NDArray[np.bool_]) -> None:
        """The heaviest mode first, the one that was just seen before its equals; weights add up to 1."""
        order = np.lexsort((~is_fit, -weight), axis=0)
        total = weight.sum(axis=0)
        sorted_weight: Pixels = np.take_along_axis(weight, order, 0)
        self._weight = (sorted_weight / np.where(total > 0, total, np.float32(1))).astype(np.float32)
        self._variance = np.take_along_axis(self._variance, order, 0)
        self._mean = np.take_along_axis(self._mean, order[..., None], 0)

    def _begin_modes(self, values: Pixels, is_new: npt.NDArray[np.bool_], rate: np.float32) -> None:
        """Pixels that belong to no mode begin one, in place of the lightest where there are five."""
        at = np.flatnonzero(is_new)
        if not len(at):
            return
        count = (self._weight[:, at] > 0).sum(axis=0)
        place = np.minimum(count, self._MODES - 1)
        self._weight[:, at] *= 1 - rate
        self._weight[place, at] = np.where(count == 0, 1, rate)
        self._mean[place, at] = values[at]
        self._variance[place, at] = self._FIRST_VARIANCE
        newest = np.arange(self._MODES)[:, None] == place
        order = np.lexsort((~newest, -self._weight[:, at]), axis=0)
        self._weight[:, at] = np.take_along_axis(self._weight[:, at], order, 0)
        self._variance[:, at] = np.take_along_axis(self._variance[:, at], order, 0)
        self._mean[:, at] = np.take_along_axis(self._mean[:, at], order[..., None], 0)

    def _is_background(self, weight: Pixels) -> npt.NDArray[np.bool_]:
        before: Pixels = np.cumsum(weight, axis=0, dtype=np.float32) - weight
        is_background: npt.NDArray[np.bool_] = np.logical_and(weight > 0, np.less(before, self._SHARE))
        return is_background

    def _is_shadow(self, values: Pixels, at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether pixels are darker versions of a background mode, as Prati (2003) tells shadows."""
        mean, weight = self._mean[:, at], self._weight[:, at]
        darker = _is_darker(values, mean, self._threshold * self._variance[:, at])
        found: npt.NDArray[np.bool_] = np.any(darker & self._is_background(weight), axis=0)
        return found


class Neighbours:
    """Pixel values seen lately, of which enough must be near (Zivkovic and van der Heijden 2006), like OpenCV's KNN.

    Keeps 7 values each of a short, a middle and a long time for each pixel. When a value is taken is drawn by lot, anew
    but always alike for the same frame. Memory: 84 bytes for each pixel.
    """

    _SAMPLES: Final = 7
    _ENOUGH: Final = 2

    def __init__(self, *, history: int, threshold: float) -> None:
        """history: frames that are remembered, about. threshold: squared distance within which values are near."""
        self._history, self._threshold = history, threshold
        self._seen = 0
        self._clock = np.zeros((3, 3), np.int64)  # of each part: the turn, its length in frames, frames of it gone
        self._value = np.zeros((3, self._SAMPLES, 0, 3), np.uint8)
        self._is_near = np.zeros((3, self._SAMPLES, 0), bool)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `BackgroundModel`."""
        if not self._seen:
            self._value = np.zeros((3, self._SAMPLES, len(pixels), 3), np.uint8)
            self._is_near = np.zeros((3, self._SAMPLES, len(pixels)), bool)
        samples = self._value.reshape(-1, len(pixels), 3)
        flags = self._is_near.reshape(-1, len(pixels))
        off = samples.astype(np.int32) - pixels
        near = np.einsum("spc,spc->sp", off, off) < self._threshold
        kinds = np.where((near & flags).sum(axis=0) >= self._ENOUGH, BACKGROUND, FOREGROUND).astype(np.uint8)
        foreground = np.flatnonzero(kinds == FOREGROUND)
        darker = _is_darker(
            pixels[foreground].astype(np.float32), samples[:, foreground].astype(np.float32),
            np.full((len(samples), len(foreground)), self._threshold, np.float32),
        )  # fmt: skip
        kinds[foreground[(darker & flags[:, foreground]).sum(axis=0) >= self._ENOUGH]] = SHADOW
        self._seen += 1
        self._take(pixels, near.sum(axis=0) >= self._ENOUGH)
        return kinds

    def background(self) -> npt.NDArray[np.uint8]:
        """For each pixel the newest value that was background; the newest of all where none was."""
        newest = self._clock[:, 0].tolist()
        order = [(part, (newest[part] - n) % self._SAMPLES) for part in range(3) for n in range(self._SAMPLES)]
        picture = self._value[order[0]].copy()
        is_open = np.ones(len(picture), bool)
        for place in order:
            chosen = is_open & self._is_near[place]
            picture[chosen] = self._value[place][chosen]
            is_open &= ~chosen
        return picture

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """All values, which of them were background, how many pictures were seen."""
        return {
            "value": self._value, "is_near": self._is_near, "clock": self._clock, "seen": np.array(self._seen),
        }  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """See `BackgroundModel`."""
        self._value, self._is_near = state["value"].copy(), state["is_near"].copy()
        self._clock, self._seen = state["clock"].copy(), int(state["seen"])

    def _take(self, pixels: npt.NDArray[np.uint8], is_near: npt.NDArray[np.bool_]) -> None:
        """Each pixel hands a value on once in a turn: from the picture to the short time, from there to the middle."""
        self._wind()
        for part in (2, 1, 0):
            turn, length, gone = self._clock[part].tolist()
            at = np.flatnonzero(np.random.default_rng((part, turn)).integers(0, length, len(pixels)) == gone)
            place = turn % self._SAMPLES
            if part == 0:
                self._value[0, place, at], self._is_near[0, place, at] = pixels[at], is_near[at]
                continue
            oldest = (self._clock[part - 1, 0] + 1) % self._SAMPLES
            self._value[part, place, at] = self._value[part - 1, oldest, at]
            self._is_near[part, place, at] = self._is_near[part - 1, oldest, at]

    def _wind(self) -> None:
        """A frame is gone; turns are short at first, while there is little to remember."""
        forgets = math.log(1 - 1 / max(2, min(2 * self._seen, self._history)))
        ends = [0, *(math.log(share) / forgets for share in (0.7, 0.4, 0.1))]
        self._clock[:, 2] += 1
        for part in range(3):
            if self._clock[part, 2] >= self._clock[part, 1]:
                length = int(ends[part + 1] - ends[part] + 1) // self._SAMPLES + 1
                self._clock[part] = self._clock[part, 0] + 1, length, 0


def _is_darker(values: Pixels, known: Pixels, within: Pixels) -> npt.NDArray[np.bool_]:
    """Whether a pixel is a known colour times a factor from a half to 1.

    values: (n, 3). known: (m, n, 3). within: (m, n), squared distance from that colour at full brightness.
    """
    along = np.einsum("pc,mpc->mp", values, known)
    length = np.einsum("mpc,mpc->mp", known, known)
    factor = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
    off = factor[..., None] * known - values
    distance = np.einsum("mpc,mpc->mp", off, off)
    return (length > 0) & (factor <= 1) & (factor >= _DARKEST_SHADOW) & (distance < within * factor**2)
