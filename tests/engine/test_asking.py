"""Calls within their limits, to a server of the test's own: no video, no store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cvpipe.calls import Asking, CallItem, CallRecord
from cvpipe.engine.asking import Asker, Question
from cvpipe.engine.calling import MemoryLedger
from cvpipe.errors import CallFailed
from cvpipe.outside import Outside, Rules
from cvpipe.stages import make
from cvpipe.stages.external import ExternalOptions
from tests.receivers import Asked, Receiver, Said, receiving

HERE = Outside(Rules(loopback=True))
ANSWER = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}


def asked(
    receiver: Receiver,
    count: int,
    *,
    ledger: MemoryLedger | None = None,
    batch: int = 1,
    rounds: int = 0,
    **options: Any,
) -> list[CallRecord]:
    """Ask `count` questions, `{"n": number}`; returns the ledger."""
    ledger = ledger or MemoryLedger()
    stage: Any = make(
        ExternalOptions.model_validate(
            {"name": "ask", "url": f"{receiver.url}/ask", "per": "frame", "fields": ["frame"], "answer": ANSWER,
             "batch": batch, "retries": 0} | options
        )
    )  # fmt: skip
    questions = []
    for first in range(0, count, batch):
        numbers = range(first, min(first + batch, count))
        record = CallRecord(
            id=f"{first:032x}", number=first + 1, stage="ask", state="sent", server=receiver.url, round=rounds,
            items=[CallItem(frame=n) for n in numbers],
        )  # fmt: skip
        questions.append(Question(record, [Asking({"frame": n}) for n in numbers]))
    Asker(stage, {}, HERE, ledger, dict(ledger.known()), rounds=rounds).run(questions, lambda: None, lambda: False)
    return ledger.in_order()


def echo(request: Asked) -> Said:
    return Said(200, json.dumps({"n": json.loads(request.body)["fields"]["frame"]}).encode())


def codes(calls: Sequence[CallRecord]) -> list[str | None]:
    return [item.error.code if item.error else None for call in calls for item in call.items]


def failing(times: int, status: int, **headers: str) -> Callable[[Asked], Said]:
    left = [times]

    def answer(request: Asked) -> Said:
        left[0] -= 1
        return (
            Said(status, headers={n.replace("_", "-"): v for n, v in headers.items()})
            if left[0] >= 0
            else echo(request)
        )

    return answer


def test_what_is_said_comes_back_item_by_item() -> None:
    with receiving(echo) as receiver:
        calls = asked(receiver, 5)
    assert [call.items[0].values for call in calls] == [{"n": n} for n in range(5)]
    assert {(call.state, call.attempts, call.status) for call in calls} == {("answered", 1, 200)}
    assert all(call.bytes_sent > 0 and call.bytes_received > 0 for call in calls)


def test_a_batch_is_one_call_and_its_answer_a_list() -> None:
    def answer(request: Asked) -> Said:
        return Said(
            200, json.dumps([{"n": item["fields"]["frame"]} for item in json.loads(request.body)["items"]]).encode()
        )

    with receiving(answer) as receiver:
        calls = asked(receiver, 7, batch=3)
    assert [len(call.items) for call in calls] == [3, 3, 1]
    assert [item.values for call in calls for item in call.items] == [{"n": n} for n in range(7)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"n": -1}', "the answer is not as declared: n: -1 is less than the minimum of 0"),
        (b'{"m": 1}', "'n' is a required property"),
        (b"[]", "the answer is not as declared"),
        (b"no json", "the answer can't be read"),
        (b"[" * 100_000, "the answer can't be read"),
    ],
)
def test_what_is_not_as_declared_is_an_error_of_its_item(body: bytes, words: str) -> None:
    with receiving(lambda _: Said(200, body)) as receiver:
        (call,) = asked(receiver, 1)
    assert call.state == "answered"
    assert call.items[0].values is None
    assert call.items[0].error is not None
    assert call.items[0].error.code == "answer_unusable"
    assert words in call.items[0].error.message


def test_a_server_that_may_do_better_is_asked_again_with_the_same_key() -> None:
    with receiving(failing(2, 503, retry_after="0")) as receiver:
        (call,) = asked(receiver, 1, retries=2)
    assert (call.state, call.attempts) == ("answered", 3)
    assert len({request.headers["idempotency-key"] for request in receiver.asked}) == 1


def test_a_server_that_says_when_is_asked_then() -> None:
    with receiving(failing(1, 429, retry_after="1")) as receiver:
        began = time.monotonic()
        asked(receiver, 1, retries=1)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("status", [400, 401, 404, 422, 302])
def test_what_another_attempt_can_not_cure_is_not_tried_again(status: int) -> None:
    with receiving(failing(9, status)) as receiver:
        (call,) = asked(receiver, 1, retries=5)
    assert (call.state, call.attempts, codes([call])) == ("failed", 1, ["call_refused"])


def test_a_server_that_fails_on_end_is_left_alone_and_then_tried_by_one() -> None:
    with receiving(failing(99, 500)) as receiver:
        calls = asked(receiver, 10, breaker=3, concurrency=1, breaker_seconds=60)
    assert len(receiver.asked) == 3
    assert codes(calls) == ["call_refused"] * 3 + ["circuit_open"] * 7
    assert [call.state for call in calls] == ["failed"] * 3 + ["skipped"] * 7


def test_the_budget_of_calls_counts_attempts_and_those_of_an_earlier_run() -> None:
    ledger = MemoryLedger()
    with receiving(echo) as receiver:
        asked(receiver, 2, ledger=ledger, max_calls=4)
        calls = asked(receiver, 6, ledger=ledger, max_calls=4, concurrency=1)
        assert len(receiver.asked) == 4
    assert codes(calls) == [None] * 4 + ["budget_spent"] * 2


def test_the_budget_of_bytes_is_kept() -> None:
    with receiving(echo) as receiver:
        calls = asked(receiver, 4, max_bytes=100, concurrency=1)
    assert sum(len(request.body) for request in receiver.asked) <= 100
    assert codes(calls).count("budget_spent") >= 1


def test_no_more_calls_are_under_way_than_allowed() -> None:
    now, most, lock, are_three = [0], [0], threading.Lock(), threading.Event()

    def answer(request: Asked) -> Said:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == 3:
                are_three.set()
        are_three.wait(20)
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return echo(request)

    with receiving(answer) as receiver:
        asked(receiver, 12, concurrency=3)
    assert most[0] == 3


def test_the_rate_is_kept() -> None:
    with receiving(echo) as receiver:
        began = time.monotonic()
        asked(receiver, 6, rate_per_second=10)
    assert time.monotonic() - began >= 0.5


def test_a_call_that_was_begun_by_one_who_died_is_made_again_with_its_key_and_counted() -> None:
    ledger = MemoryLedger()
    begun = CallRecord(
        id="0" * 32, number=1, stage="ask", state="sent", server="http://x", attempts=1, items=[CallItem(frame=0)]
    )
    ledger.put(begun)
    with receiving(echo) as receiver:
        (call,) = asked(receiver, 1, ledger=ledger)
    assert (call.state, call.attempts) == ("answered", 2)
    assert receiver.asked[0].headers["idempotency-key"] == f"cvpipe-{'0' * 32}"


def test_what_failed_is_tried_again_in_another_round_and_what_was_answered_is_not() -> None:
    ledger = MemoryLedger()
    with receiving(failing(1, 400)) as receiver:
        assert codes(asked(receiver, 3, ledger=ledger, concurrency=1)) == ["call_refused", None, None]
        assert codes(asked(receiver, 3, ledger=ledger, concurrency=1)) == ["call_refused", None, None]
        assert len(receiver.asked) == 3
        assert codes(asked(receiver, 3, ledger=ledger, concurrency=1, rounds=1)) == [None, None, None]
    assert len(receiver.asked) == 4


def test_a_call_that_failed_ends_the_run_where_the_stage_says_so() -> None:
    with receiving(failing(9, 400)) as receiver, pytest.raises(CallFailed, match="HTTP 400"):
        asked(receiver, 3, on_error="fail")
