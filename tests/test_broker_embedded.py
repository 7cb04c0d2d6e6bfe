"""The doorbell on the embedded store: heard at once, in order of priority, and silent while nothing rings."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq import Worker

from cvpipe.broker import Bell, make_broker, queue_name
from cvpipe.embedded.processes import Child
from cvpipe.embedded.stores import FakeStore, SocketStore, find_server
from cvpipe.store import Ring
from tests.conftest import missing
from tests.servers import RedisServer, find_redis


@pytest.fixture(params=["valkey", "fakeredis"])
def broker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> Iterator[dramatiq.Broker]:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    store = FakeStore() if request.param == "fakeredis" else SocketStore(find_server(), tmp_path)
    child = Child(store.command(), tmp_path / "store.log")
    deadline = time.monotonic() + 60
    while not store.ping():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    broker = make_broker(broker_url=None, redis_url=store.url)
    yield broker
    broker.close()
    child.kill()
    child.wait(60)
    child.close()
    store.close()


def commands_processed(broker: dramatiq.Broker) -> int:
    return int(broker.client.info("stats")["total_commands_processed"])


def ring(broker: dramatiq.Broker, *priorities: int) -> None:
    bell = Bell(broker)
    bell.ring([Ring(f"chunk:j:0:{number}", "cpu", priority) for number, priority in enumerate(priorities)])
    bell.close(60)


def test_rings_are_heard_by_priority_then_in_order(broker: dramatiq.Broker) -> None:
    ring(broker, 4, 0, 9, 4)
    consumer = broker.consume(queue_name("cpu"), prefetch=4, timeout=60_000)
    heard = [next(consumer) for _ in range(4)]
    assert [message.args[0] for message in heard if message] == [f"chunk:j:0:{n}" for n in (2, 0, 3, 1)]


def test_no_more_than_the_prefetch_is_taken_before_something_is_done(broker: dramatiq.Broker) -> None:
    ring(broker, 0, 0)
    consumer = broker.consume(queue_name("cpu"), prefetch=1, timeout=1000)
    first = next(consumer)
    assert first is not None
    assert next(consumer) is None
    consumer.ack(first)
    assert next(consumer) is not None


def test_what_a_worker_hands_back_is_heard_by_another(broker: dramatiq.Broker) -> None:
    ring(broker, 0)
    first = broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000)
    message = next(first)
    assert message is not None
    first.requeue([message])
    again = next(broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000))
    assert again is not None
    assert again.args == message.args


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Nobody else talks to it."""
    if find_redis() is None:
        missing("redis-server is not installed", promised="CI" in os.environ)
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_an_idle_worker_asks_rarely_and_still_sees_every_ring(own_redis: RedisServer) -> None:
    broker = make_broker(broker_url=None, redis_url=own_redis.url, prefetch=2)
    seen: list[str] = []
    all_seen = threading.Event()

    @dramatiq.actor(broker=broker, queue_name=queue_name("cpu"), actor_name="work")
    def work(task: str, queue: str) -> None:
        seen.append(task)
        if len(seen) == 5:
            all_seen.set()

    worker = Worker(broker, worker_timeout=100, worker_threads=2)
    worker.start()
    bell = Bell(broker)
    try:
        time.sleep(1.2)  # both sides at rest
        before = commands_processed(broker)
        time.sleep(1)
        assert commands_processed(broker) - before < 40
        for number in range(5):
            bell.ring([Ring(f"chunk:j:0:{number}", "cpu", 4)])
            time.sleep(0.01)
        assert all_seen.wait(60)
    finally:
        bell.close()
        worker.stop(timeout=5000)
        broker.close()
    assert sorted(seen) == [f"chunk:j:0:{number}" for number in range(5)]
