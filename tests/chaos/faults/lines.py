"""Lines between processes and servers that are cut, slow, or lose what is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

from tests.chaos.faults import Fault, Scene
from tests.chaos.network import FAIR, Line, Weather


@contextmanager
def _cut(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    with _weather(scene, rng, Weather(cut=True)) as facts:
        yield facts


@contextmanager
def _slow(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    with _weather(scene, rng, Weather(delay_seconds=rng.uniform(0.02, 0.5))) as facts:
        yield facts


@contextmanager
def _lose_answers(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """What is asked is done, and nobody learns of it: the same will be asked again."""
    with _weather(scene, rng, Weather(lost=frozenset({"answers"}))) as facts:
        yield facts


@contextmanager
def _half_open(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """Nothing arrives, in either direction, and nobody is told."""
    with _weather(scene, rng, Weather(lost=frozenset({"requests", "answers"}))) as facts:
        yield facts


@contextmanager
def _weather(scene: Scene, rng: Random, weather: Weather) -> Iterator[Mapping[str, Any]]:
    """Of one process's line, or of all lines to one server."""
    server = rng.choice(["redis", "broker"])
    members = scene.cluster.members
    if rng.random() < 2 / 3:
        members = [rng.choice(members)]
    lines: list[Line] = [getattr(member, server) for member in members]
    try:
        for line in lines:
            scene.cluster.network.set(line, weather)
        yield {"of": ",".join(member.name for member in members), "to": server}
    finally:
        for line in lines:
            scene.cluster.network.set(line, FAIR)


FAULTS = (
    Fault("cut lines", "servers", 3, (0.2, 6), _cut),
    Fault("slow lines", "servers", 2, (2, 6), _slow),
    Fault("lose answers", "servers", 2, (1, 7), _lose_answers),
    Fault("half-open lines", "servers", 2, (1, 12), _half_open),
)
