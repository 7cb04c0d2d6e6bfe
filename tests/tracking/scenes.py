"""Drawn crowds with known identities: what a detector would say of them, and how well a tracker did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, slots=True)
class Look:
    """One frame.

    box: (n, 4) as corners. score: (n,). truth: (n,), whose box it is, -1 for a false one. there: how many are there.
    ids, true_box: (there,) and (there, 4), who is there, and where. looks: (n, 16), what each box looks like. camera:
    (2, 3), where what was at a pixel of the look before is now, None for the first.
    """

    time: float
    box: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    truth: npt.NDArray[np.int64]
    there: int
    ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    true_box: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    looks: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 16)))
    camera: npt.NDArray[np.float64] | None = None


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
    shake: float = 0
    """Pixels a second by which the camera moves, now this way and now that."""
    sameness: float = 0
    """How alike the targets look: 0 each as it likes, 1 all the same."""

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
        looks: list[Look] = []
        aside = np.random.default_rng((seed, 1))  # what was drawn before looks and cameras were stays as it was
        style = aside.normal(size=(n, 16)) * (1 - self.sameness) + aside.normal(size=16) * self.sameness
        view, drift = np.zeros(2), np.zeros(2)
        for number in range(int(self.seconds * self.fps)):
            time = number / self.fps
            velocity += rng.normal(0, 60, (n, 2)) / self.fps
            place = place + velocity / self.fps
            velocity = np.where(place < 0, np.abs(velocity), np.where(place > area, -np.abs(velocity), velocity))
            if number and rng.random() < self.frames_lost:
                continue
            here = np.flatnonzero((time >= enters) & (time <= leaves))
            before = view.copy()
            drift = 0.9 * drift + aside.normal(0, 1, 2) * self.shake * 0.44
            view = view + drift * (time - looks[-1].time if looks else 0)
            seen = self._look(rng, time, here, place[here], size[here])
            looks.append(self._framed(aside, seen, style, view, view - before if looks else None))
        return looks

    def _framed(
        self,
        aside: np.random.Generator,
        look: Look,
        style: npt.NDArray[np.float64],
        view: npt.NDArray[np.float64],
        moved: npt.NDArray[np.float64] | None,
    ) -> Look:
        """A look as the moving camera has it, with what its boxes look like."""
        false = look.truth < 0
        own = np.where(false[:, None], aside.normal(size=(len(false), 16)), style[look.truth])
        own = own + aside.normal(0, 0.5, own.shape)
        return replace(
            look,
            box=look.box + np.tile(view, 2),
            true_box=look.true_box + np.tile(view, 2),
            looks=own / np.linalg.norm(own, axis=1, keepdims=True),
            camera=None if moved is None else np.array([[1, 0, moved[0]], [0, 1, moved[1]]]),
        )

    def _look(
        self,
        rng: np.random.Generator,
        time: float,
        here: npt.NDArray[np.int64],
        place: npt.NDArray[np.float64],
        size: npt.NDArray[np.float64],
    ) -> Look:
        box = true_box = np.concatenate([place - size / 2, place + size / 2], 1)
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
            here,
            true_box,
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
