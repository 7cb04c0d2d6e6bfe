"""The way of one thing over the ground: how fast, where to, how far; and how sure that is.

What is seen of it jitters, so its velocity is the slope of a line through its last positions. An error of the
calibration shifts all of them nearly alike: it counts by how it changes along the way, not by how large it is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cvpipe.geometry.ground import spread_of
from cvpipe.geometry.homography import Matrix
from cvpipe.geometry.least_squares import Vector

_NOISE: Final = slice(2, 6)
"""Where in a row of numbers of a place the covariance of its noise is."""
_SURE: Final = 8.0
"""Standard deviations that a step must measure to count as a way that was gone. Jitter across a step of n of them makes
it longer by 1 / 2n^2: here by less than a hundredth."""
_MOVING: Final = 2.0
_NO_DIRECTION: Final = 60.0
"""Degrees of uncertainty from which on a direction is none."""


@dataclass(frozen=True, slots=True)
class Motion:
    """How something moves.

    velocity: metres per second along x and y. speed: metres per second. direction: degrees counter-clockwise from the x
    axis, 0 to 360; None where it hardly moves. distance: metres so far. deviation: standard deviation of each.
    """

    velocity: tuple[float, float]
    speed: float
    speed_deviation: float
    direction: float | None
    direction_deviation: float | None
    distance: float
    distance_deviation: float


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """position: (2,). sensitivity: (2, k). noise: (2, 2)."""

    position: Vector
    sensitivity: Matrix
    noise: Matrix

    def to_row(self) -> Vector:
        return np.concatenate([self.position, self.noise.ravel(), self.sensitivity.ravel()])

    @classmethod
    def from_row(cls, row: Vector) -> _Place:
        return cls(row[:2], row[6:].reshape(2, -1), row[_NOISE].reshape(2, 2))


class Course:
    """The way of one thing. Memory: 25 numbers for each position of the last `window_seconds`."""

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._times: deque[float] = deque()
        self._rows: deque[Vector] = deque()
        self._anchor: _Place | None = None
        self._heading: Vector | None = None
        self._gone = 0.0
        self._told = 0.0
        self._stretch = np.zeros(0)
        self._jitter = 0.0

    @property
    def last_seen(self) -> float:
        """When a position was added last."""
        return self._times[-1]

    def add(self, time: float, position: Vector, sensitivity: Matrix, noise: Matrix) -> None:
        """Where it is now. position: (2,), metres; sensitivity: (2, k); noise: (2, 2); as of `Located`."""
        while self._times and self._times[0] < time - self._window:
            self._times.popleft()
            self._rows.popleft()
        if self._times and time <= self._times[-1]:
            self._times.pop()  # two at one time: the later one is right
            self._rows.pop()
        self._times.append(time)
        place = _Place(position, sensitivity, noise)
        self._rows.append(place.to_row())
        if self._anchor is None:
            self._anchor, self._stretch = place, np.zeros(sensitivity.shape[1])

    def motion(self, covariance: Matrix) -> Motion | None:
        """How it moves now; None where it was seen once only. covariance: (k, k), of the calibration."""
        if len(self._times) < 2:
            return None
        times = np.array(self._times)
        since = times - times.mean()
        slope = since / (since @ since)
        pace = self._weighed(slope)
        now = self._weighed(1 / len(times) + slope * since[-1])
        speed = float(np.hypot(*pace.position))
        spread = spread_of(pace.sensitivity, covariance) + pace.noise
        along = pace.position / speed if speed > 0 else np.array([1.0, 0.0])
        across = np.array([-along[1], along[0]])
        deviation = math.sqrt(max(0.0, float(along @ spread @ along)))
        sway = math.sqrt(max(0.0, float(across @ spread @ across)))
        turn = math.degrees(math.atan2(sway, speed)) if speed > 0 else 90.0
        has_direction = turn <= _NO_DIRECTION
        distance, doubt = self._distance(now, covariance, is_moving=speed > _MOVING * deviation)
        return Motion(
            velocity=(float(pace.position[0]), float(pace.position[1])),
            speed=speed,
            speed_deviation=deviation,
            direction=math.degrees(math.atan2(along[1], along[0])) % 360 if has_direction else None,
            direction_deviation=turn if has_direction else None,
            distance=distance,
            distance_deviation=doubt,
        )

    def _weighed(self, weights: Vector) -> _Place:
        """The sum of the places in the window, each with its weight; their pixels err independently of each other."""
        rows = np.array(self._rows)
        total = (weights[:, None] * rows).sum(axis=0)
        total[_NOISE] = (weights[:, None] ** 2 * rows[:, _NOISE]).sum(axis=0)
        return _Place.from_row(total)

    def _distance(self, now: _Place, covariance: Matrix, *, is_moving: bool) -> tuple[float, float]:
        """Metres so far, and their standard deviation.

        Jitter adds up where every step is counted, so only steps count that are long beside it.
        """
        assert self._anchor is not None
        step = now.position - self._anchor.position
        length = float(np.hypot(*step))
        pending = length
        if length > 0 and length >= _SURE * _widest(now.noise + self._anchor.noise):
            self._take(now, step / length, length)
            pending = 0.0
        ahead = pending if is_moving else 0.0
        self._told = max(self._told, self._gone + ahead)
        by_calibration = float(self._stretch @ covariance @ self._stretch)
        return self._told, math.sqrt(max(0.0, by_calibration) + self._jitter + pending**2 / 3)

    def _take(self, now: _Place, along: Vector, length: float) -> None:
        """Count a step that is sure."""
        assert self._anchor is not None
        self._gone += length
        self._stretch = self._stretch + along @ (now.sensitivity - self._anchor.sensitivity)
        # The jitter of a corner counts as far as the way turns there; going straight on, it takes as much as it gives.
        turned = along if self._heading is None else along - self._heading
        self._jitter += max(0.0, float(turned @ self._anchor.noise @ turned))
        self._anchor, self._heading = now, along

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs, as plain numbers and lists; floats are exact in MessagePack."""
        return {
            "times": list(self._times),
            "places": [row.tolist() for row in self._rows],
            "anchor": None if self._anchor is None else self._anchor.to_row().tolist(),
            "heading": None if self._heading is None else self._heading.tolist(),
            "gone": self._gone,
            "told": self._told,
            "stretch": self._stretch.tolist(),
            "jitter": self._jitter,
        }

    @classmethod
    def restore(cls, window_seconds: float, state: Mapping[str, Any]) -> Course:
        """A course that goes on from what `state` returned."""
        course = cls(window_seconds)
        course._times = deque(state["times"])
        course._rows = deque(map(np.array, state["places"]))
        course._anchor = None if state["anchor"] is None else _Place.from_row(np.array(state["anchor"]))
        course._heading = None if state["heading"] is None else np.array(state["heading"])
        course._gone, course._told, course._jitter = state["gone"], state["told"], state["jitter"]
        course._stretch = np.array(state["stretch"])
        return course


def _widest(covariance: Matrix) -> float:
    """The standard deviation of a covariance (2, 2) in the direction in which it is largest."""
    mean, half = (covariance[0, 0] + covariance[1, 1]) / 2, (covariance[0, 0] - covariance[1, 1]) / 2
    return math.sqrt(max(0.0, float(mean + math.hypot(half, covariance[0, 1]))))
