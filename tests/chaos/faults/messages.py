"""Messages that come twice, in another order, a day late, or from somebody who means no good."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import pika.exceptions

from cvpipe.broker import DEFAULT_QUEUES, Bell, make_broker, queue_name
from cvpipe.store import Ring
from cvpipe.tenants import DEFAULT, owned
from tests.chaos.faults import Fault, Scene
from tests.chaos.faults.servers import channel

_MANY = 60
_CHUNKS = 12
_SHUFFLED = 200


@contextmanager
def _ring_again(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """For tasks that are open, and for some that were never made."""
    yield {"messages": _ring(scene, rng, _jobs(scene)[-8:])}


@contextmanager
def _ring_for_yesterday(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """For tasks of jobs that are over."""
    over = {entry.facts["job"] for entry in scene.history.of("told")}
    yield {"messages": _ring(scene, rng, [job for job in _jobs(scene) if job in over])}


@contextmanager
def _shuffle(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """Takes what waits in the queues and puts it back in another order, some of it twice."""
    moved = 0
    with suppress(pika.exceptions.ChannelClosedByBroker), channel(scene.cluster) as open_channel:
        for name in map(queue_name, DEFAULT_QUEUES):
            taken: list[tuple[int, Any, bytes]] = []
            while len(taken) < _SHUFFLED:
                method, properties, body = open_channel.basic_get(name)
                if method is None:
                    break
                taken.append((method.delivery_tag, properties, body))
            for _, properties, body in rng.sample(taken + taken[::3], len(taken) + len(taken[::3])):
                open_channel.basic_publish("", name, body, properties)
            for tag, _, _ in taken:
                open_channel.basic_ack(tag)
            moved += len(taken)
    yield {"messages": moved}


@contextmanager
def _hostile(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    bodies = _hostile_bodies(_jobs(scene)[-1:] or ["x"])
    with suppress(pika.exceptions.ChannelClosedByBroker), channel(scene.cluster) as open_channel:
        for name in map(queue_name, DEFAULT_QUEUES):
            for body in rng.sample(bodies, len(bodies)):
                open_channel.basic_publish("", name, body)
    yield {"messages": len(bodies) * len(DEFAULT_QUEUES)}


def _hostile_bodies(jobs: list[str]) -> list[bytes]:
    """Bodies that are no messages, or messages that no task is behind."""
    name = owned(DEFAULT, jobs[-1])
    message = {"queue_name": queue_name("cpu"), "actor_name": "work", "kwargs": {}, "options": {}, "message_id": "m"}
    tasks: list[Any] = [
        "", "chunk", "chunk:", f"chunk:{name}", f"chunk:{name}:a:b", f"chunk:{name}:-1:9999999", "chunk:../../x:0:0",
        f"finish:{name}:", "ingest:", "notify:nobody/nothing", "\0", "x" * 100_000, None, 7, ["chunk"], {"task": "x"},
    ]  # fmt: skip
    tame = [{**message, "args": [task], "message_timestamp": 1} for task in tasks]
    odd: list[Any] = [
        {**message, "args": [], "message_timestamp": 1},
        {**message, "args": ["chunk:a:0:0"], "kwargs": {"more": 1}, "message_timestamp": 1},
        {**message, "args": ["chunk:a:0:0"], "actor_name": "__import__", "message_timestamp": 1},
        {**message, "args": ["chunk:a:0:0"], "queue_name": 9, "message_timestamp": "late"},
        {"args": ["chunk:a:0:0"]},
        [], "text", None, 0,
    ]  # fmt: skip
    return [b"", b"\xff\xfe\0", b"{", b"\x80\x04cos\nsystem\n.", *(json.dumps(body).encode() for body in tame + odd)]


def _jobs(scene: Scene) -> list[str]:
    return [entry.facts["job"] for entry in scene.history.of("accepted")]


def _ring(scene: Scene, rng: Random, jobs: list[str]) -> int:
    rings = []
    for _ in range(_MANY if jobs else 0):
        name = owned(DEFAULT, rng.choice(jobs))
        part = f"{rng.randrange(2)}:{rng.randrange(_CHUNKS)}"
        chunk = Ring(f"chunk:{name}:{part}", rng.choice(["cpu", "gpu", "sequence"]), 9)
        others = [Ring(f"{queue}:{name}", queue, 9) for queue in ("finish", "ingest")]
        rings.append(rng.choice([chunk, chunk, *others, Ring(f"notify:{name}:{rng.randrange(3)}", "notify", 9)]))
    bell = Bell(make_broker(broker_url=scene.cluster.rabbitmq.url, redis_url=scene.cluster.redis.url))
    bell.ring(rings)
    bell.close()
    return len(rings)


FAULTS = (
    Fault("ring again", "servers", 2, (0, 0), _ring_again),
    Fault("ring for yesterday", "servers", 2, (0, 0), _ring_for_yesterday),
    Fault("shuffle messages", "servers", 2, (0, 0), _shuffle),
    Fault("hostile messages", "servers", 2, (0, 0), _hostile),
)
