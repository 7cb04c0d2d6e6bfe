"""The doorbell on the embedded store: quiet when nothing rings."""

import threading
import time
from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq import Worker

from cvpipe.broker import Bell, make_broker, queue_name
from cvpipe.store import Ring


@pytest.fixture
def broker(redis_url: str) -> Iterator[dramatiq.Broker]:
    broker = make_broker(broker_url=None, redis_url=redis_url, prefetch=2)
    yield broker
    broker.close()
    broker.client.close()


def commands_processed(broker: dramatiq.Broker) -> int:
    return int(broker.client.info("stats")["total_commands_processed"])


def test_an_idle_worker_asks_rarely_and_still_sees_every_ring(broker: dramatiq.Broker) -> None:
    seen: list[str] = []
    all_seen = threading.Event()

    @dramatiq.actor(broker=broker, queue_name=queue_name("cpu"), actor_name="work")
    def work(task: str) -> None:
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
        assert all_seen.wait(5)
    finally:
        bell.close()
        worker.stop(timeout=5000)
    assert sorted(seen) == [f"chunk:j:0:{number}" for number in range(5)]
