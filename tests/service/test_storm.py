from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from cvpipe.broker import Bell, make_broker
from cvpipe.settings import Settings
from cvpipe.store import Store
from cvpipe.work import Bench, notify
from tests.storm import WAITS, storm

FORKS = multiprocessing.get_context("forkserver")


def send(redis_url: str, folder: Path) -> None:
    """What a worker with the queue `notify` does, without a broker: look at what is due, again and again."""
    settings = Settings(
        redis_url=redis_url, data_dir=folder, outside_loopback=True, webhook_waits=WAITS, lease_seconds=0.5
    )
    bench = Bench(settings, Store.connect(redis_url), Bell(make_broker(broker_url=None, redis_url=redis_url)))
    while True:
        for ring in bench.store.sweep(limit=4, ring_again_seconds=0.2):
            notify(bench, ring.task)
        time.sleep(0.01)


@pytest.fixture
def senders() -> Iterator[list[BaseProcess]]:
    started: list[BaseProcess] = []
    yield started
    for process in started:
        process.kill()
        process.join()
        process.close()


def test_every_webhook_arrives_although_half_are_refused_and_senders_are_killed(
    tmp_path: Path, redis_url: str, senders: list[BaseProcess]
) -> None:
    FORKS.set_forkserver_preload(["cvpipe.work", "tests.storm"])

    def start() -> BaseProcess:
        process = FORKS.Process(target=send, args=(redis_url, tmp_path))
        process.start()
        senders.append(process)
        return process

    outcome = storm(redis_url, start, webhooks=40, kills=4, seed=1, limit_seconds=200)
    assert outcome.is_good, outcome
    assert outcome.kills == 4
    assert outcome.refused >= 59  # as the seed has it; one who asks again because of a kill may be refused again
