"""Everything that the nemesis can do, by kind: what each fault breaks, for how long, and how it is healed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tests.chaos.cluster import Cluster
from tests.chaos.history import History

Hand = Literal["kills", "freezes", "servers"]
"""Who does it: each hand does one thing at a time, all hands at once."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault may touch. The history tells it which jobs there are, and takes what the checker must know of it."""

    cluster: Cluster
    history: History


Act = Callable[[Scene, Random], AbstractContextManager[Mapping[str, Any]]]
"""Begins the fault on entering, with facts about it, and heals it on leaving."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. weight: how often, beside others of its hand. hold_seconds: how long it lasts, (least, most)."""

    kind: str
    hand: Hand
    weight: float
    hold_seconds: tuple[float, float]
    act: Act
