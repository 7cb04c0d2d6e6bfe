"""Redis and RabbitMQ die, lose their connections, their memory, their queues, or go back to an earlier time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

import pika
import redis

from cvpipe.broker import DEFAULT_QUEUES, queue_name
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Fault, Scene

_AOF = "appendonlydir"
_ENOUGH_MEMORY = "0.4"
_NO_MEMORY = "0.0001"


@contextmanager
def channel(cluster: Cluster) -> Iterator[Any]:
    """A channel to RabbitMQ past all lines."""
    parameters = pika.URLParameters(cluster.rabbitmq.url)
    parameters.blocked_connection_timeout = 10
    with pika.BlockingConnection(parameters) as connection:
        yield connection.channel()


@contextmanager
def _kill_redis(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    scene.cluster.redis.kill()
    try:
        yield {}
    finally:
        scene.cluster.redis.start()


@contextmanager
def _kill_rabbitmq(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    scene.cluster.rabbitmq.kill()
    try:
        yield {}
    finally:
        scene.cluster.rabbitmq.start()


@contextmanager
def _close_connections(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """All of them, at one server."""
    of = rng.choice(["RabbitMQ", "Redis"])
    if of == "Redis":
        with redis.Redis.from_url(scene.cluster.redis.url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
    else:
        scene.cluster.rabbitmq.ctl("close_all_connections", "chaos")
    yield {"of": of}


@contextmanager
def _delete_queues(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    queues = rng.sample(DEFAULT_QUEUES, rng.randint(1, len(DEFAULT_QUEUES)))
    with channel(scene.cluster) as open_channel:
        for queue in queues:
            open_channel.queue_delete(queue_name(queue))
    yield {"of": ",".join(queues)}


@contextmanager
def _purge_queues(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    with channel(scene.cluster) as open_channel:
        for queue in DEFAULT_QUEUES:
            open_channel.queue_declare(queue_name(queue), durable=True, arguments={"x-max-priority": 10})
            open_channel.queue_purge(queue_name(queue))
    yield {}


@contextmanager
def _memory_alarm(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    """RabbitMQ blocks all that publish."""
    scene.cluster.rabbitmq.ctl("set_vm_memory_high_watermark", _NO_MEMORY)
    try:
        yield {}
    finally:
        scene.cluster.rabbitmq.ctl("set_vm_memory_high_watermark", _ENOUGH_MEMORY)


@contextmanager
def _redis_full(scene: Scene, rng: Random) -> Iterator[Mapping[str, Any]]:
    """No memory for anything new."""
    with redis.Redis.from_url(scene.cluster.redis.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * rng.uniform(0.9, 1)))
        try:
            yield {}
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def _roll_back(scene: Scene, _rng: Random) -> Iterator[Mapping[str, Any]]:
    """Redis comes back with what it had some seconds ago, as from a copy or a replica that was behind."""
    server, copied_at = scene.cluster.redis, time.time()
    copy = server.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(server.folder / _AOF, copy)
    try:
        yield {}
    finally:
        server.kill()
        shutil.rmtree(server.folder / _AOF)
        copy.rename(server.folder / _AOF)
        server.start()
        scene.history.add("nemesis", "rolled back", copied_at=copied_at)


FAULTS = (
    Fault("kill Redis", "servers", 3, (0, 1.5), _kill_redis),
    Fault("kill RabbitMQ", "servers", 1, (0, 3), _kill_rabbitmq),
    Fault("close all connections", "servers", 2, (0, 0), _close_connections),
    Fault("delete queues", "servers", 2, (0, 0), _delete_queues),
    Fault("purge queues", "servers", 2, (0, 0), _purge_queues),
    Fault("memory alarm", "servers", 1, (1, 8), _memory_alarm),
    Fault("Redis full", "servers", 2, (0.5, 4), _redis_full),
    Fault("roll the store back", "servers", 1.5, (1, 8), _roll_back),
)
