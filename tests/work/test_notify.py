"""Messages to a webhook: told once, tried again, given up, delivered again; nobody waits for another's receiver."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from cvpipe.broker import Bell, make_broker
from cvpipe.errors import LeaseLost, NotFound
from cvpipe.events import Event, Moment
from cvpipe.job import ENDS, JobState
from cvpipe.settings import Settings
from cvpipe.store import Claim, Store
from cvpipe.webhooks import new_secret
from cvpipe.work import Bench, notify
from tests.receivers import Said, receiving
from tests.store.test_store import FRAMES_ONLY, claim, make_doc, make_record, planned

SECRETS = [new_secret(), new_secret()]


@pytest.fixture
def bench(tmp_path: Path, redis_url: str) -> Iterator[Bench]:
    settings = Settings(redis_url=redis_url, data_dir=tmp_path, outside_loopback=True, webhook_waits="0.05 0.05 0.05")
    bench = Bench(settings, Store.connect(redis_url), Bell(make_broker(broker_url=None, redis_url=redis_url)))
    yield bench
    bench.close()


def make_job(bench: Bench, url: str, job: str = "t/j1", events: Any = ENDS) -> str:
    store = bench.store
    store.submit(
        job,
        {
            **make_doc(),
            "webhook_url": url, "webhook_secrets": SECRETS, "webhook_events": list(events),
        },
        priority=4,
        webhook=events,
        idempotency_key=None,
        digest="d",
    )  # fmt: skip
    return job


def ended(bench: Bench, url: str, job: str = "t/j1") -> str:
    bench.store.cancel(make_job(bench, url, job))
    return job


def makes_claim(bench: Bench, name: str) -> Claim:
    return claim(bench.store, bench.store.put_task(f"notify:t/{name}:1", queue="notify")[0].task, lease_seconds=300)


def deliver_all(bench: Bench, *, seconds: float = 60) -> None:
    """Do what is due, until no message is left."""
    until = time.monotonic() + seconds
    while True:
        keys = bench.store.client.keys("cvpipe:task:notify:*")
        if not keys:
            return
        for key in sorted(keys):
            notify(bench, key.decode().removeprefix("cvpipe:task:"))
        assert time.monotonic() < until, "messages are left"
        time.sleep(0.01)


def fate(bench: Bench, job: str = "t/j1") -> list[tuple[str, str, int]]:
    return [(m.event, m.state, m.attempts) for m in bench.store.delivery_log(job).messages]


def test_an_end_is_told_signed_with_every_secret(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving(lambda _: Said(204)) as receiver:
        ended(bench, receiver.url)
        deliver_all(bench)
    request = receiver.asked[0]
    for secret in SECRETS:
        told = caplog.text.encode() + request.body + str(request.headers).encode()
        assert secret.removeprefix("whsec_").encode() not in told
        message = standardwebhooks.Webhook(secret).verify(request.body, request.headers)
        assert (message["type"], message["data"]["id"], message["data"]["state"]) == ("job.canceled", "j1", "canceled")
    assert request.headers["webhook-id"] == "msg_j1_1"
    assert fate(bench) == [("job.canceled", "delivered", 1)]


def test_a_message_is_the_same_each_time_it_is_tried(bench: Bench) -> None:
    answers = iter([500, 503, 204])
    with receiving(lambda _: Said(next(answers))) as receiver:
        ended(bench, receiver.url)
        deliver_all(bench)
    assert len({request.body for request in receiver.asked}) == 1
    assert {request.headers["webhook-id"] for request in receiver.asked} == {"msg_j1_1"}
    log = bench.store.delivery_log("t/j1")
    assert [(a.attempt, a.status, a.delivered) for a in log.attempts] == [
        (1, 500, False),
        (2, 503, False),
        (3, 204, True),
    ]


def test_a_receiver_that_never_takes_it_is_given_up_at_the_end_of_the_schedule(bench: Bench) -> None:
    with receiving(lambda _: Said(500)) as receiver:
        ended(bench, receiver.url)
        deliver_all(bench)
    assert len(receiver.asked) == 4  # three waits between them
    assert fate(bench) == [("job.canceled", "given_up", 4)]


def test_retry_after_makes_a_wait_longer(bench: Bench) -> None:
    with receiving(lambda _: Said(429, headers={"retry-after": "600"})) as receiver:
        ended(bench, receiver.url)
        notify(bench, "notify:t/j1:1")
    next_at = bench.store.delivery_log("t/j1").messages[0].next_at
    assert next_at is not None
    assert next_at - time.time() == pytest.approx(600, abs=30)


def test_410_ends_it_for_all_messages_of_the_job_and_a_redelivery_forgives(bench: Bench) -> None:
    status = 410
    with receiving(lambda _: Said(status)) as receiver:
        job = make_job(bench, receiver.url, events=("job.queued", "job.canceled"))
        bench.store.redeliver(job, None)
        notify(bench, f"notify:{job}:1")
        bench.store.cancel(job)
        assert fate(bench) == [("job.queued", "given_up", 1), ("webhook.test", "given_up", 0)]
        assert bench.store.delivery_log(job).gone
        deliver_all(bench)
        assert len(receiver.asked) == 1
        status = 200
        message, rings = bench.store.redeliver(job, "msg_j1_1")
        assert (message.state, [ring.task for ring in rings]) == ("pending", [f"notify:{job}:1"])
        deliver_all(bench)
    assert fate(bench)[0] == ("job.queued", "delivered", 2)
    assert not bench.store.delivery_log(job).gone
    assert receiver.asked[0].body == receiver.asked[1].body


def test_a_message_that_was_never_told_of_can_not_be_delivered_again(bench: Bench) -> None:
    job = ended(bench, "http://127.0.0.1:9/")
    for message in ("msg_j1_2", "msg_j2_1", "msg_j1_x"):
        with pytest.raises(NotFound, match=f"the job has told of no '{message}'"):
            bench.store.redeliver(job, message)


def test_only_what_was_asked_for_is_told(bench: Bench) -> None:
    wanted = ("job.running", "job.progress", "job.succeeded")
    job = planned(bench.store, FRAMES_ONLY, chunks=4, webhook=True, events=wanted, webhook_url="http://127.0.0.1:9/")
    for chunk in range(4):
        held = claim(bench.store, f"chunk:{job}:0:{chunk}")
        records = [make_record(n) for n in range(chunk * 10, chunk * 10 + 10)]
        for part in (records[:5], records[5:]):
            bench.store.append(held, job, (0, chunk), part, lease_seconds=30, counted=True)
        bench.store.finish_chunk(held, job, 0, chunk)
    bench.store.end_job(claim(bench.store, f"finish:{job}"), job, JobState.succeeded, error=None, exports=[])
    told = [event for event, _, _ in fate(bench, job)]
    assert told == ["job.running", *["job.progress"] * 7, "job.succeeded"]  # 12.5, 25, ... 87.5 % by steps of 10


def test_the_first_object_is_told_of_once(bench: Bench) -> None:
    with receiving(lambda _: Said(204)) as receiver:
        job = make_job(bench, receiver.url, events=("job.first_object",))
        first = {"first_object": {"frame": 7, "time": 0.7, "objects": [{"label": "person"}]}}
        assert len(bench.store.announce(job, "job.first_object", first, once=True)) == 1
        assert bench.store.announce(job, "job.first_object", {"first_object": {"frame": 9}}, once=True) == []
        assert bench.store.announce(job, "job.progress", {}) == []
        deliver_all(bench)
    data = json.loads(receiver.asked[0].body)["data"]
    assert (data["id"], data["first_object"]["frame"]) == ("j1", 7)


def test_each_event_of_the_log_is_told_of_once(bench: Bench) -> None:
    with receiving(lambda _: Said(204)) as receiver:
        job = make_job(bench, receiver.url, events=("job.event",))
        held = claim(bench.store, f"ingest:{job}")
        moments = [Moment(n, n / 10) for n in range(3)]
        events = [
            (f"{100 * n}-{n + 1}", Event("rule_met", "rules", m, m, m, number=n + 1)) for n, m in enumerate(moments)
        ]
        assert len(bench.store.append_events(held, job, events[:2], lease_seconds=30)) == 2
        assert len(bench.store.append_events(held, job, events, lease_seconds=30)) == 1
        with pytest.raises(LeaseLost):
            bench.store.append_events(replace(held, token="other"), job, events, lease_seconds=30)
        deliver_all(bench)
    told = [json.loads(asked.body) for asked in receiver.asked]
    assert [message["type"] for message in told] == ["job.event"] * 3
    assert sorted(message["data"]["event"]["number"] for message in told) == [1, 2, 3]
    assert told[0]["data"]["event"]["kind"] == "rule_met"


def test_a_paused_or_deleted_job_keeps_nobody_at_its_messages(bench: Bench) -> None:
    with receiving(lambda _: Said(500)) as receiver:
        job = ended(bench, receiver.url)
        notify(bench, f"notify:{job}:1")
        bench.store.delete_job(job)
    assert [key for key in bench.store.client.keys("cvpipe:*") if b"receiver:" not in key] == []


def test_a_dead_receiver_delays_nobody_else(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, receiving(lambda _: Said(204)) as receiver:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for number in range(20):
            ended(bench, url, f"t/dead{number}")
        ended(bench, receiver.url, "t/good")
        for number in range(3):  # three times no answer, so one call at a time from here on
            notify(bench, f"notify:t/dead{number}:1", timeout_seconds=0.1)
        other = makes_claim(bench, "other")
        assert bench.store.receiver_enter(url, other, seconds=300) == 0
        began = time.monotonic()
        for number in range(3, 20):
            notify(bench, f"notify:t/dead{number}:1", timeout_seconds=60)
        notify(bench, "notify:t/good:1")
        assert time.monotonic() - began < 50  # less than one timeout
    assert fate(bench, "t/good") == [("job.canceled", "delivered", 1)]
    attempts = [bench.store.delivery_log(f"t/dead{number}").messages[0].attempts for number in range(20)]
    assert attempts == [1] * 3 + [0] * 17  # those that wait have made none


def test_a_receiver_gets_two_calls_at_a_time_and_places_come_free_again(bench: Bench) -> None:
    enter, leave = bench.store.receiver_enter, bench.store.receiver_leave
    one, two, three, four, five = (makes_claim(bench, name) for name in ("a", "b", "c", "d", "e"))
    assert [enter("o", held, seconds=60) for held in (one, two)] == [0, 0]
    assert all(0 < enter("o", held, seconds=60) < 1 for held in (three, four, five))
    leave("o", one, seconds=80, answered=True)
    assert enter("o", three, seconds=60) == 0
    waits = [enter("o", four, seconds=60), enter("o", five, seconds=60)]
    assert 35 < waits[0] < 41  # as far apart as it is slow
    assert waits[1] > 55
    assert enter("another", five, seconds=60) == 0


def test_a_place_held_by_one_who_died_comes_free_with_its_lease(bench: Bench) -> None:
    dead = [makes_claim(bench, name) for name in ("a", "b")]
    assert [bench.store.receiver_enter("o", held, seconds=60) for held in dead] == [0, 0]
    assert bench.store.receiver_enter("o", makes_claim(bench, "c"), seconds=60) > 0
    assert all(bench.store.renew(held, lease_seconds=0) for held in dead)
    assert bench.store.receiver_enter("o", makes_claim(bench, "d"), seconds=60) == 0


def test_an_address_that_may_not_be_called_is_given_up_with_its_reason(bench: Bench) -> None:
    ended(bench, "http://169.254.169.254/latest")
    deliver_all(bench)
    log = bench.store.delivery_log("t/j1")
    assert (log.gone, log.attempts[0].error) == (True, "169.254.169.254 is a link-local address, which is never called")
