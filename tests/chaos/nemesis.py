"""The nemesis: faults drawn from a seed, one after another by each of its hands, all hands at once."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Self

from tests.chaos.faults import Fault, Hand, Scene

PAUSE_SECONDS: dict[Hand, float] = {"kills": 2.5, "freezes": 6.0, "servers": 2.5}
"""Mean time between a fault's end and the next one's begin, by hand."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault of the schedule. pause_seconds: before it begins. seed: of what it draws itself."""

    fault: Fault
    pause_seconds: float
    hold_seconds: float
    seed: int


def schedule(faults: Sequence[Fault], seed: int, hand: Hand) -> Iterator[Step]:
    """What a hand does, without end: the same for the same seed and the same list of faults."""
    mine = [fault for fault in faults if fault.hand == hand]
    rng = Random(f"{seed} {hand}")
    while mine:
        (fault,) = rng.choices(mine, [fault.weight for fault in mine])
        pause = min(rng.expovariate(1 / PAUSE_SECONDS[hand]), 4 * PAUSE_SECONDS[hand])
        yield Step(fault, pause, rng.uniform(*fault.hold_seconds), rng.getrandbits(32))


class Nemesis:
    """Breaks the scene in the block, and leaves it healed. pace: pauses are so many times as long."""

    def __init__(self, scene: Scene, faults: Sequence[Fault], seed: int, *, pace: float = 1.0) -> None:
        self._scene = scene
        self._pace = pace
        self._over = threading.Event()
        self.failures: list[str] = []
        self._hands = [
            threading.Thread(target=self._work, args=(schedule(faults, seed, hand),), name=hand, daemon=True)
            for hand in PAUSE_SECONDS
        ]

    def __enter__(self) -> Self:
        for hand in self._hands:
            hand.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for hand in self._hands:
            hand.join()

    def _work(self, steps: Iterator[Step]) -> None:
        for step in steps:
            if self._over.wait(step.pause_seconds * self._pace):
                return
            try:
                self.do(step)
            except Exception:  # noqa: BLE001 - a nemesis that fails has proved nothing: the run is red
                self.failures.append(f"{step.fault.kind}: {traceback.format_exc()}")

    def do(self, step: Step) -> None:
        """One fault, from its begin to its end."""
        with step.fault.act(self._scene, Random(step.seed)) as facts:
            self._scene.history.add("nemesis", "began", fault=step.fault.kind, **facts)
            self._over.wait(step.hold_seconds)
        self._scene.history.add("nemesis", "healed", fault=step.fault.kind, **facts)
