"""The ground before a camera that turns: known at some times, and in between as if it turned evenly.

A camera that turns in its place changes its picture by K R K^-1. Its power s shows what it saw a share s of the way, if
it turned about one axis at one rate; so the homography at a time between two is found without knowing K.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np

from cvpipe.geometry.ground import ENTRIES, Ground
from cvpipe.geometry.homography import Matrix

_TO_UNIT: Final = np.diag([1e-3, 1e-3, 1.0])
"""Pixels are so many that a logarithm would be a long way off."""
_STEP: Final = 1e-6
_ROOTS: Final = 24
_ROUNDS: Final = 30
_SETTLED: Final = 1e-15
_NEAR: Final = 0.1
_TERMS: Final = 18


@dataclass(frozen=True, slots=True, eq=False)
class Panning:
    """The ground at some times: seconds since the first frame, ascending, and what it was seen like then.

    Before the first and after the last, it is as it was then.
    """

    times: tuple[float, ...]
    grounds: tuple[Ground, ...]

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.grounds):
            raise ValueError(f"wanted a ground for each time, got {len(self.times)} and {len(self.grounds)}")
        if any(later <= earlier for earlier, later in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("times must ascend")
        if any(ground.lens != self.grounds[0].lens for ground in self.grounds):
            raise ValueError("a camera that pans keeps its lens")

    def at(self, time: float) -> Ground:
        """The ground at a time."""
        later = bisect_right(self.times, time)
        if later == 0:
            return self.grounds[0]
        if later == len(self.times):
            return self.grounds[-1]
        share = (time - self.times[later - 1]) / (self.times[later] - self.times[later - 1])
        return between(self.grounds[later - 1], self.grounds[later], share)


def between(first: Ground, second: Ground, share: float) -> Ground:
    """The ground a share (0 to 1) of the way from one view to another; their errors are independent of each other."""
    if share == 0:
        return first
    both = np.concatenate([first.matrix.ravel(), second.matrix.ravel()])
    steps = np.concatenate([np.zeros((1, len(both))), _STEP * np.eye(len(both)), -_STEP * np.eye(len(both))])
    before, after = np.moveaxis((both + steps).reshape(-1, 2, 3, 3), 1, 0)
    seen = (power(after @ np.linalg.inv(before), share) @ before).reshape(-1, ENTRIES)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    matrix, ahead, behind = seen[0], seen[1 : len(both) + 1], seen[len(both) + 1 :]
    slopes = ((ahead - behind) / (2 * _STEP)).T
    covariance = np.zeros((2 * ENTRIES, 2 * ENTRIES))
    covariance[:ENTRIES, :ENTRIES] = first.covariance[:ENTRIES, :ENTRIES]
    covariance[ENTRIES:, ENTRIES:] = second.covariance[:ENTRIES, :ENTRIES]
    return Ground(matrix.reshape(3, 3), slopes @ covariance @ slopes.T, first.lens)


def power(matrices: Matrix, share: float) -> Matrix:
    """A power of homographies (..., 3, 3) between pixels, up to its scale: the logarithm, times the share, undone.

    Raises: ValueError where one has no real logarithm: the two views have nothing in common.
    """
    small = _TO_UNIT @ matrices @ np.linalg.inv(_TO_UNIT)
    determinants = np.linalg.det(small)
    if (determinants <= 0).any():
        raise ValueError("one of two views of the ground is a mirror image of the other")
    root, halvings = small / np.cbrt(determinants)[..., None, None], 0
    while np.abs(root - np.eye(3)).max() > _NEAR:
        if halvings == _ROOTS:
            raise ValueError("two views of the ground are too far apart; add one between them")
        root, halvings = _square_root(root), halvings + 1
    return np.linalg.inv(_TO_UNIT) @ _exponential(_logarithm(root) * share, halvings) @ _TO_UNIT


def _square_root(matrices: Matrix) -> Matrix:
    """Denman and Beavers' iteration."""
    root, inverse = matrices, np.broadcast_to(np.eye(3), matrices.shape)
    for _ in range(_ROUNDS):
        last = root
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
        if np.abs(root - last).max() < _SETTLED:
            break
    return root


def _logarithm(matrices: Matrix) -> Matrix:
    """Of matrices near one, by its series."""
    step = matrices - np.eye(3)
    term, total = np.broadcast_to(np.eye(3), step.shape), np.zeros_like(step)
    for number in range(1, _TERMS):
        term = term @ step
        total = total + term * ((-1) ** (number + 1) / number)
    return total


def _exponential(matrices: Matrix, doublings: int) -> Matrix:
    """Of small matrices, by its series; then squared so often."""
    term = total = np.broadcast_to(np.eye(3), matrices.shape)
    for number in range(1, _TERMS):
        term = term @ matrices / number
        total = total + term
    for _ in range(doublings):
        total = total @ total
    return total
