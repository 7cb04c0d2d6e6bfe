"""Claiming a task while the store refuses, and what is handed back when the ground falls away under it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvpipe.broker import Bell, make_broker
from cvpipe.settings import Settings
from cvpipe.store import Claim, Store
from cvpipe.work import Bench
from cvpipe.work.bench import MAX_FAILURES, leased

TASK = "probe:t/v"


@pytest.fixture
def bench(redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    bell = Bell(make_broker(broker_url=None, redis_url=redis_url))
    bench = Bench(Settings(data_dir=tmp_path, redis_url=redis_url), Store.connect(redis_url), bell)
    bench.store.put_task(TASK, queue="ingest")
    yield bench
    bench.close()


def test_a_task_that_can_not_be_claimed_now_is_left_to_the_sweeper(bench: Bench) -> None:
    bench.store.client.config_set("maxmemory", 1)
    try:
        with leased(bench, TASK, on_given_up=None) as lease:
            assert lease is None
    finally:
        bench.store.client.config_set("maxmemory", 0)
    with leased(bench, TASK, on_given_up=None) as lease:
        assert lease is not None
        assert (lease.claim.attempts, lease.claim.crashes, lease.claim.failures) == (1, 0, 0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_costs_a_task_no_attempt(bench: Bench, number: int) -> None:
    for _ in range(MAX_FAILURES + 1):
        with leased(bench, TASK, on_given_up=None) as lease:
            assert lease is not None
            assert lease.claim.failures == 0
            raise OSError(number, "no room")
        assert bench.store.claim(TASK, lease_seconds=5) == "early"
        bench.store.client.hset(f"cvpipe:task:{TASK}", "not_before", 0)
    assert isinstance(bench.store.claim(TASK, lease_seconds=5), Claim)


@pytest.mark.expects_errors
def test_another_error_of_the_system_costs_one(bench: Bench) -> None:
    with leased(bench, TASK, on_given_up=None) as lease:
        assert lease is not None
        raise PermissionError(errno.EACCES, "not yours")
    bench.store.client.hset(f"cvpipe:task:{TASK}", "not_before", 0)
    claim = bench.store.claim(TASK, lease_seconds=5)
    assert isinstance(claim, Claim)
    assert claim.failures == 1
