"""The doorbell on a real RabbitMQ: what it declares, and an ack that comes too late."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import dramatiq
import pika
import pytest
from dramatiq import Worker
from dramatiq.errors import ConnectionClosed

from cvpipe.broker import ACTOR_OF_TASK, Bell, check_broker, make_broker, queue_name
from cvpipe.errors import InvalidRequest
from cvpipe.store import Ring
from tests.servers import RabbitMQServer
from tests.video.reading import eventually


@pytest.fixture
def broker(rabbitmq_url: str) -> Iterator[dramatiq.Broker]:
    broker = make_broker(broker_url=rabbitmq_url, redis_url="", prefetch=1)
    yield broker
    broker.close()


def messages_in(url: str, queue: str) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
    finally:
        connection.close()


def publish(url: str, queue: str, bodies: list[bytes], *, priority: int = 0) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(priority=priority))
    connection.close()


def take(broker: dramatiq.Broker, count: int) -> list[str]:
    """Consume and acknowledge so many messages of queue `cpu`."""
    consumer = broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000)
    got = []
    for _ in range(count):
        message = next(consumer)
        assert message is not None
        got.append(str(message.args[0]))
        consumer.ack(message)
    consumer.close()
    return got


def test_a_ring_lies_in_the_durable_queue_of_its_task(rabbitmq_url: str, broker: dramatiq.Broker) -> None:
    bell = Bell(broker)
    bell.ring([Ring("chunk:j:0:0", "gpu-b", 9), Ring("chunk:j:0:1", "gpu-b", 0)])
    bell.close(60)
    assert eventually(lambda: messages_in(rabbitmq_url, "cvpipe.v1.gpu-b") == 2)


def make_rings() -> list[Ring]:
    return [Ring(f"chunk:j:0:{number}", "cpu" if number % 3 else "gpu", number % 10) for number in range(60)]


def test_rings_together_all_lie_in_their_queues(rabbitmq_url: str, broker: Any) -> None:
    for _ in range(2):  # with no queue yet, then with both
        broker.ring_all(make_rings())
    for queue, count in (("cvpipe.v1.gpu", 40), ("cvpipe.v1.cpu", 80)):
        assert eventually(lambda: messages_in(rabbitmq_url, queue) == count)  # noqa: B023 - it is over by then
    assert set(take(broker, 80)) == {ring.task for ring in make_rings() if ring.queue == "cpu"}


def test_rings_together_find_a_queue_that_was_removed_meanwhile(rabbitmq_url: str, broker: Any) -> None:
    broker.ring_all(make_rings())
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    connection.channel().queue_delete("cvpipe.v1.cpu")
    connection.close()
    broker.ring_all(make_rings())
    assert set(take(broker, 40)) == {ring.task for ring in make_rings() if ring.queue == "cpu"}


def test_rings_together_are_heard_though_the_connection_broke_meanwhile(rabbitmq: RabbitMQServer, broker: Any) -> None:
    broker.ring_all(make_rings())
    rabbitmq.ctl("eval", 'rabbit_networking:close_all_connections("test").')
    broker.ring_all(make_rings())
    assert eventually(lambda: messages_in(rabbitmq.url, "cvpipe.v1.cpu") >= 80)


def test_the_message_with_the_higher_priority_comes_first(broker: dramatiq.Broker) -> None:
    bell = Bell(broker)
    bell.ring([Ring(f"chunk:j:0:{n}", "cpu", n) for n in (0, 4, 9)])
    bell.close(60)
    assert take(broker, 3) == ["chunk:j:0:9", "chunk:j:0:4", "chunk:j:0:0"]


def test_an_ack_from_before_a_reconnect_settles_no_other_message(broker: dramatiq.Broker) -> None:
    """After a reconnect delivery tags start again: the tag of the old message is now another one's."""
    bell = Bell(broker)
    bell.ring([Ring("chunk:j:0:0", "cpu", 0)])
    bell.close(60)
    before = broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000)
    old = next(before)
    before.close()  # the connection breaks while the task runs
    bell = Bell(broker)
    bell.ring([Ring("chunk:j:0:9", "cpu", 9)])
    bell.close(60)
    after = broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000)
    other = next(after)
    assert (old._tag, other._tag, other.args[0]) == (1, 1, "chunk:j:0:9")
    after.ack(old)  # the old task is done; Dramatiq tells the consumer it has now
    after.close()  # and the worker dies before it looks at the other message
    assert take(broker, 2) == ["chunk:j:0:9", "chunk:j:0:0"]


def test_a_channel_closed_during_a_task_is_opened_again_and_every_task_is_seen(broker: dramatiq.Broker) -> None:
    started, go_on, seen = threading.Event(), threading.Event(), []

    @dramatiq.actor(broker=broker, queue_name=queue_name("cpu"), actor_name="work")
    def work(task: str, queue: str) -> None:
        seen.append(task)
        if len(seen) == 1:
            started.set()
            go_on.wait(100)

    bell = Bell(broker)
    bell.ring([Ring(f"chunk:j:0:{n}", "cpu", 0) for n in range(3)])
    bell.close(60)
    worker = Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    assert started.wait(60)
    consumer = worker.consumers[queue_name("cpu")].consumer
    assert consumer is not None
    old = consumer
    old.connection.add_callback_threadsafe(old.channel.close)
    deadline = time.monotonic() + 60
    while worker.consumers[queue_name("cpu")].consumer is old and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # the new consumer gets the first message again, with tag 1
    go_on.set()
    while len(set(seen)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.stop(timeout=5000)
    assert set(seen) == {"chunk:j:0:0", "chunk:j:0:1", "chunk:j:0:2"}


GOOD: dict[str, Any] = {
    "queue_name": "cvpipe.v1.cpu", "actor_name": "work", "args": ["chunk:t/j:0:0"], "kwargs": {}, "options": {},
    "message_id": "m", "message_timestamp": 1,
}  # fmt: skip


def test_messages_that_name_no_task_are_dropped_and_let_the_next_one_pass(
    rabbitmq_url: str, broker: dramatiq.Broker
) -> None:
    tasks: list[Any] = [
        None,
        7,
        {},
        "",
        "chunk",
        "chunk:t/j:a:b",
        "chunk:t/j:0:-1",
        "finish:",
        "notify:t/j",
        "eval:t/j",
        "finish:\0",
    ]
    said: list[Any] = [[], "x", {**GOOD, "args": []}, {"args": {}}, *({**GOOD, "args": [task]} for task in tasks)]
    bodies = [b"", b"\xff{", b"[" * 100_000, *(json.dumps(body).encode() for body in said)]
    bell = Bell(broker)
    bell.ring([Ring("chunk:t/j:0:0", "cpu", 0)])
    bell.close(60)
    publish(rabbitmq_url, "cvpipe.v1.cpu", bodies, priority=9)
    consumer = broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000)
    assert [next(consumer) for _ in bodies] == [None] * len(bodies)
    message = next(consumer)
    assert message is not None
    assert message.args == ("chunk:t/j:0:0", "cpu")
    consumer.ack(message)
    consumer.close()
    assert messages_in(rabbitmq_url, "cvpipe.v1.cpu") == 0


def test_nothing_is_taken_from_a_message_but_the_name_of_its_task(rabbitmq_url: str, broker: dramatiq.Broker) -> None:
    lies: list[dict[str, Any]] = [
        {"queue_name": 9}, {"queue_name": "cvpipe.v1.gpu"}, {"actor_name": "__import__"}, {"kwargs": {"more": 1}},
        {"options": {"eta": "now"}}, {"options": {"eta": 9e15}}, {"message_id": None}, {"more": 1},
    ]  # fmt: skip
    bell = Bell(broker)
    bell.ring([Ring(GOOD["args"][0], "cpu", 0)])
    bell.close(60)
    bodies = [json.dumps({**GOOD, **lie}).encode() for lie in lies]
    publish(rabbitmq_url, "cvpipe.v1.cpu", [*bodies, json.dumps({"args": GOOD["args"]}).encode()])
    consumer = broker.consume(queue_name("cpu"), prefetch=1, timeout=60_000)
    for _ in range(len(lies) + 2):
        message = next(consumer)
        assert message is not None
        assert (message.queue_name, message.actor_name, message.args, message.kwargs) == (
            "cvpipe.v1.cpu", "work", ("chunk:t/j:0:0", "cpu"), {},
        )  # fmt: skip
        assert "eta" not in message.options
        consumer.ack(message)
    consumer.close()


def test_ringing_never_waits_for_a_broker_that_is_down() -> None:
    bell = Bell(make_broker(broker_url="amqp://127.0.0.1:1/", redis_url=""))
    bell.ring([Ring("ingest:j", "ingest", 4)] * 100)
    bell.close(60)
    assert not bell.healthy


def test_ringing_never_waits_for_a_broker_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, go_on, told = make_broker(broker_url=None, redis_url="redis://127.0.0.1:1/"), threading.Event(), []

    def tell(rings: Sequence[Ring]) -> None:
        assert go_on.wait(60)
        told.extend(rings)

    monkeypatch.setattr(broker, "ring_all", tell)
    bell = Bell(broker)
    bell.ring([Ring("ingest:j", "ingest", 4)] * 100)
    assert told == []
    go_on.set()
    bell.close(60)
    assert len(told) == 100


def test_a_broker_that_takes_connections_and_says_nothing_is_one_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://me:secret@127.0.0.1:{silent.getsockname()[1]}/"
        assert not check_broker(url, ("cpu",))
        broker = make_broker(broker_url=url, redis_url="")
        broker.parameters.stack_timeout = 0.2
        with pytest.raises(ConnectionClosed):
            broker.consume(queue_name("cpu"))
        with pytest.raises(ConnectionClosed):
            broker.consumer_class(broker, queue_name("cpu"), 1, 100)


def test_every_kind_of_task_has_an_actor() -> None:
    import actors

    declared = set(actors.broker.get_declared_actors())
    assert set(ACTOR_OF_TASK.values()) == declared


def test_another_broker_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="amqp://"):
        make_broker(broker_url="kafka://x", redis_url="")
