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
from cvpipe.geometry.least_squares import Vector, derivative

_ROOTS: Final = 24
_NEAR: Final = 0.05
_TERMS: Final = 14


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

    def entries(both: Vector) -> Vector:
        before, after = both[:ENTRIES].reshape(3, 3), both[ENTRIES:].reshape(3, 3)
        matrix = power(after @ np.linalg.inv(before), share) @ before
        flat: Vector = (matrix / np.linalg.norm(matrix)).ravel()
        return flat

    both = np.concatenate([first.matrix.ravel(), second.matrix.ravel()])
    slopes = derivative(entries, both)
    covariance = np.zeros((2 * ENTRIES, 2 * ENTRIES))
    covariance[:ENTRIES, :ENTRIES] = first.covariance[:ENTRIES, :ENTRIES]
    covariance[ENTRIES:, ENTRIES:] = second.covariance[:ENTRIES, :ENTRIES]
    return Ground(entries(both).reshape(3, 3), slopes @ covariance @ slopes.T, first.lens)


def power(matrix: Matrix, share: float) -> Matrix:
    """A power of a homography near enough to none, up to its scale: its logarithm, times the share, undone.

    Raises: ValueError where it has no real logarithm: the two views have nothing in common.
    """
    determinant = float(np.linalg.det(matrix))
    if determinant <= 0:
        raise ValueError("one of two views of the ground is a mirror image of the other")
    root, halvings = matrix / np.cbrt(determinant), 0
    while np.abs(root - np.eye(3)).max() > _NEAR:
        if halvings == _ROOTS:
            raise ValueError("two views of the ground are too far apart; add one between them")
        root, halvings = _square_root(root), halvings + 1
    return _exponential(_logarithm(root) * share, halvings)


def _square_root(matrix: Matrix) -> Matrix:
    """Denman and Beavers' iteration."""
    root, inverse = matrix, np.eye(3)
    for _ in range(_ROOTS):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    return root


def _logarithm(matrix: Matrix) -> Matrix:
    """Of a matrix near one, by its series."""
    step = matrix - np.eye(3)
    term, total = np.eye(3), np.zeros((3, 3))
    for number in range(1, _TERMS):
        term = term @ step
        total += term * ((-1) ** (number + 1) / number)
    return total


def _exponential(matrix: Matrix, doublings: int) -> Matrix:
    """Of a small matrix, by its series; then squared so often."""
    term, total = np.eye(3), np.eye(3)
    for number in range(1, _TERMS):
        term = term @ matrix / number
        total = total + term
    for _ in range(doublings):
        total = total @ total
    return total
