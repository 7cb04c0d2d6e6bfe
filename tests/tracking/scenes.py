"""Drawn crowds with known identities: what a detector would say of them, and how well a tracker did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, slots=True)
class Look:
    """One frame: boxes (n, 4) as corners, scores (n,), whose box it is (n,), -1 for a false one; how many are there."""

    time: float
    box: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    truth: npt.NDArray[np.int64]
    there: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """A scene to draw: people or cars that walk, cross, hide each other, are missed and are seen where nobody is."""

    targets: int = 14
    seconds: float = 8
    fps: float = 30
    missed: float = 0.05
    jitter: float = 0.03
    false_per_frame: float = 0.4
    frames_lost: float = 0
    speed: float = 110
    heights: tuple[float, float] = (90, 200)
    aspect: float = 0.42
    width: float = 1280
    height: float = 720

    def draw(self, seed: int) -> list[Look]:
        """The frames of the scene."""
        rng = np.random.default_rng(seed)
        n, area = self.targets, np.array([self.width, self.height])
        tall = rng.uniform(*self.heights, n)
        size = np.stack([tall * self.aspect, tall], 1)
        place = rng.uniform([0, self.height * 0.3], [self.width, self.height * 0.8], (n, 2))
        heading = rng.choice([0, np.pi], n) + rng.normal(0, 0.25, n)
        velocity = np.stack([np.cos(heading), np.sin(heading)], 1) * rng.uniform(0.5, 1.5, (n, 1)) * self.speed
        enters = np.where(np.arange(n) < n // 2, 0, rng.uniform(0, self.seconds * 0.3, n))
        leaves = np.where(np.arange(n) < n // 3, rng.uniform(self.seconds * 0.7, self.seconds, n), np.inf)
        looks = []
        for number in range(int(self.seconds * self.fps)):
            time = number / self.fps
            velocity += rng.normal(0, 60, (n, 2)) / self.fps
            place = place + velocity / self.fps
            velocity = np.where(place < 0, np.abs(velocity), np.where(place > area, -np.abs(velocity), velocity))
            if number and rng.random() < self.frames_lost:
                continue
            here = np.flatnonzero((time >= enters) & (time <= leaves))
            looks.append(self._look(rng, time, here, place[here], size[here]))
        return looks

    def _look(
        self,
        rng: np.random.Generator,
        time: float,
        here: npt.NDArray[np.int64],
        place: npt.NDArray[np.float64],
        size: npt.NDArray[np.float64],
    ) -> Look:
        box = np.concatenate([place - size / 2, place + size / 2], 1)
        hidden = _hidden(box)
        score = np.clip(0.92 - 0.75 * hidden + rng.normal(0, 0.07, len(here)), 0.02, 0.99)
        found = (rng.random(len(here)) > self.missed) & (hidden < 0.85)
        box = box + rng.normal(0, self.jitter, box.shape) * np.tile(size, 2) * (1 + 2 * hidden[:, None])
        false = rng.poisson(self.false_per_frame)
        centre = rng.uniform(0, [self.width, self.height], (false, 2))
        half = rng.uniform(*self.heights, (false, 1)) * [self.aspect, 1] / 2
        order = rng.permutation(int(found.sum()) + false)
        return Look(
            time,
            np.concatenate([box[found], np.concatenate([centre - half, centre + half], 1)])[order],
            np.concatenate([score[found], rng.uniform(0.1, 0.75, false)])[order],
            np.concatenate([here[found], np.full(false, -1)])[order],
            len(here),
        )


def _hidden(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n,): the greatest share of each box that lies behind one other, which stands lower in the picture."""
    low = np.maximum(box[:, None, :2], box[:, :2])
    high = np.minimum(box[:, None, 2:], box[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2) / np.prod(box[:, None, 2:] - box[:, None, :2], axis=2)
    in_front = box[:, 3] > box[:, None, 3]
    hidden: npt.NDArray[np.float64] = np.where(in_front, shared, 0).max(axis=1, initial=0)
    return hidden


@dataclass(frozen=True, slots=True)
class Score:
    """idf1: share of boxes that carry the one right number, 0 to 1. switches: how often a target's number changed."""

    idf1: float
    switches: int


def score(scene: Sequence[Look], ids: Sequence[npt.NDArray[np.int32]]) -> Score:
    """How well numbers, for each look (n,) and -1 for none, follow the targets.

    IDF1 as in Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016.
    """
    targets = 1 + max(int(look.truth.max(initial=-1)) for look in scene)
    together = np.zeros((targets, 1 + max(int(numbers.max(initial=0)) for numbers in ids)))
    last: dict[int, int] = {}
    switches = 0
    for look, numbers in zip(scene, ids, strict=True):
        for target, number in zip(look.truth.tolist(), numbers.tolist(), strict=True):
            if target < 0 or number < 0:
                continue
            together[target, number] += 1
            switches += last.get(target, number) != number
            last[target] = number
    rows, columns = linear_sum_assignment(together, maximize=True)
    there = sum(look.there for look in scene)
    given = sum(int((numbers > 0).sum()) for numbers in ids)
    return Score(float(2 * together[rows, columns].sum() / (there + given)), switches)
