"""The doorbell: the only door to Dramatiq, RabbitMQ and the embedded broker.

A message says "look at this task" and nothing else; the store knows the rest. So a lost, doubled or reordered message
costs time, never work, and none of Dramatiq's retry, time-limit, delay, group or result middleware is used.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import dramatiq
import pika
import pika.exceptions
import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from cvpipe.errors import Conflict, InvalidRequest
from cvpipe.log import fields
from cvpipe.loopback import is_loopback_host
from cvpipe.store import Ring

log = logging.getLogger(__name__)

#: Arguments of a RabbitMQ queue can't change after its declaration: whoever changes them changes this name too.
QUEUE_PREFIX: Final = "cvpipe.v1."
#: Queues that every installation has; CVPIPE_EXTRA_QUEUES names more.
DEFAULT_QUEUES: Final = ("ingest", "cpu", "gpu", "sequence", "crops", "external", "finish", "notify", "media")
#: Name of the actor that every message is for, by the kind of its task.
ACTOR_OF_TASK: Final = {
    "probe": "ingest",
    "ingest": "ingest",
    "chunk": "work",
    "trial": "work",
    "finish": "finish",
    "notify": "notify",
    "media": "media",
    "model": "model",
    "camera": "camera",
}
_MAX_PRIORITY: Final = 10
_PRECONDITION_FAILED: Final = 406
_BELL: Final = "cvpipe:bell:"
_PAUSE_SECONDS: Final = 1.0
_ATTEMPTS: Final = 3
"""A connection on which nothing was said for a while is found broken at the first."""
_REST_SECONDS: Final = 0.005
"""Between two tellings of the broker: where many ring, more of them are told together."""
_TOGETHER: Final = 256
"""Rings that the broker is told of at once, at most."""


def queue_name(logical: str) -> str:
    """The broker's name of a queue: `gpu` is `cvpipe.v1.gpu`."""
    return logical if logical.startswith(QUEUE_PREFIX) else QUEUE_PREFIX + logical


_PART: Final = "[!-9;-~]{1,200}"
#: What a message may name. The tasks of chunks and of webhooks are taken apart before they are looked for in the store.
_TASK: Final = re.compile(
    rf"chunk:{_PART}:\d{{1,9}}:\d{{1,9}}|notify:{_PART}:{_PART}"
    rf"|({'|'.join(sorted(ACTOR_OF_TASK.keys() - {'chunk', 'notify'}))}):[!-~]{{1,400}}"
)


class _Consumer(_RabbitmqConsumer):
    """A consumer that acknowledges only what itself was delivered, and takes nothing from a message but a task's name.

    Dramatiq acknowledges by delivery tag on whichever consumer is current. After a reconnect tags start again at 1, so
    the ack of a task from before would settle another message, which is then lost. And it believes what messages say:
    one with fields left out came back for ever and let none behind it pass, one that named another queue ended the
    thread that it met.
    """

    def __init__(self, broker: _Rabbit, queue_name: str, prefetch: int, timeout: int) -> None:
        try:
            super().__init__(broker, queue_name, prefetch, timeout)
        except AMQPConnectorException as error:  # it takes connections and says nothing
            raise ConnectionClosed(error) from None
        self.iterator = self._readable(self.iterator)

    def _readable(self, deliveries: Iterator[Any]) -> Iterator[Any]:
        for method, properties, body in deliveries:
            if method is None:
                yield method, properties, body
            elif (task := _task_in(body)) is None:
                log.warning("dropped a message that names no task %s", fields(queue=self.queue_name, size=len(body)))
                self._nack(method.delivery_tag)
                yield None, None, None
            else:
                yield method, properties, _message(Ring(task, self.queue_name, 0)).encode()

    def __next__(self) -> Any:
        message = super().__next__()
        if message is not None:
            message._delivered_by = self
        return message

    def ack(self, message: Any) -> None:
        if getattr(message, "_delivered_by", None) is self:
            super().ack(message)

    def nack(self, message: Any) -> None:
        if getattr(message, "_delivered_by", None) is self:
            super().nack(message)

    def close(self) -> None:
        """Close the connection too where the channel is closed already: Dramatiq would leave it open for good."""
        try:
            super().close()
        finally:
            with suppress(pika.exceptions.AMQPError):
                if self.connection.is_open:
                    self.connection.close()

    def _nack(self, tag: int) -> None:
        # No dead-letter queue: the store still knows the task and rings again.
        self.connection.add_callback_threadsafe(partial(self.channel.basic_nack, tag, requeue=False))


class _Rabbit(RabbitmqBroker):
    """RabbitMQ with durable classic queues and real priorities; no delay or dead-letter queues."""

    def __init__(self, url: str, *, prefetch: int | None = None) -> None:
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 10
        parameters.blocked_connection_timeout = 5
        parameters.socket_timeout = 5
        parameters.stack_timeout = 5
        super().__init__(middleware=[], max_priority=_MAX_PRIORITY)
        self.parameters = parameters
        self.prefetch = prefetch

    @property
    def connection(self) -> pika.BlockingConnection:
        """This thread's. Raises: AMQPConnectionError, also where the broker takes connections and says nothing."""
        try:
            return super().connection
        except AMQPConnectorException as error:  # which Dramatiq does not expect
            raise pika.exceptions.AMQPConnectionError(error) from None

    @connection.deleter
    def connection(self) -> None:
        RabbitmqBroker.connection.fdel(self)  # type: ignore[attr-defined] # as Python has it, a property

    @property
    def consumer_class(self) -> type[_Consumer]:
        return _Consumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Any:
        return super().consume(queue_name, self.prefetch or prefetch, timeout)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            self._ensure_queue(queue_name)

    def _build_queue_arguments(self, _queue_name: str) -> dict[str, Any]:
        return {"x-max-priority": _MAX_PRIORITY}

    def _declare_dq_queue(self, queue_name: str) -> None:
        """Delays are the due set's work."""

    def _declare_xq_queue(self, queue_name: str) -> None:
        """A message is a doorbell: there is nothing to keep of one that failed."""

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        if delay is not None:
            raise ValueError("delays are the due set's work")
        self._enqueue_all([message])
        return message

    def ring_all(self, rings: Sequence[Ring]) -> None:
        """Ring together. Raises: ConnectionClosed."""
        self._enqueue_all(list(map(_message, rings)))

    def _enqueue_all(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        """Enqueue messages; comes back when RabbitMQ has taken them on their way to their queues.

        Nothing is confirmed one by one: behind them each queue is asked for. So one round trip is for all, and tells
        that RabbitMQ is away, takes nothing more, or has lost a queue. A queue may answer before what was sent to it
        counts in it; should RabbitMQ die in between, the sweeper rings again.
        """
        queues = {message.queue_name for message in messages}
        for attempt in range(_ATTEMPTS):
            is_new = getattr(self.state, "connection", None) is None
            try:
                for name in queues:
                    self.declare_queue(name, ensure=True)
                for message in messages:
                    priority = message.options.get("broker_priority")
                    properties = pika.BasicProperties(delivery_mode=2, priority=priority)
                    # Its own `basic_publish` comes back when each is sent.
                    self.channel._impl.basic_publish("", message.queue_name, message.encode(), properties)
                for name in queues:
                    self.channel.queue_declare(name, passive=True)
            except (pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError) as error:
                del self.connection
                self.queues_pending |= queues
                is_away = is_new and isinstance(error, pika.exceptions.AMQPConnectionError)
                if is_away or attempt == _ATTEMPTS - 1:
                    raise ConnectionClosed(error) from None
            else:
                return


class _Embedded(dramatiq.Broker):
    """The bell on the embedded store: a sorted set for each queue, its tasks in order of priority, then of time.

    Consumers wait for it with BZPOPMIN: an idle worker costs next to nothing, and a ring is heard at once (Dramatiq's
    own RedisBroker polls, and knows no priorities). A task that is rung for twice is there once. One that was popped is
    forgotten: if its worker dies, the sweeper rings again.
    """

    def __init__(self, url: str, *, prefetch: int | None = None) -> None:
        super().__init__(middleware=[])
        self.client = redis.Redis.from_url(url, socket_timeout=10)
        self.prefetch = prefetch

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> _EmbeddedConsumer:
        return _EmbeddedConsumer(self.client, queue_name, self.prefetch or prefetch, timeout)

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def get_declared_queues(self) -> set[str]:
        return set(self.queues)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        if delay is not None:
            raise ValueError("delays are the due set's work")
        self.client.zadd(_BELL + message.queue_name, {message.args[0]: _rank(message)})
        return message

    def ring_all(self, rings: Sequence[Ring]) -> None:
        """Ring together, in one round trip."""
        pipe = self.client.pipeline(transaction=False)
        for message in map(_message, rings):
            pipe.zadd(_BELL + message.queue_name, {message.args[0]: _rank(message)})
        pipe.execute()

    def close(self) -> None:
        self.client.close()


class _EmbeddedConsumer(Consumer):
    """Takes messages of one queue, at most `prefetch` that are not done."""

    def __init__(self, client: redis.Redis, queue_name: str, prefetch: int, timeout_ms: int) -> None:
        self._client = client
        self._queue_name = queue_name
        self._key = _BELL + queue_name
        self._timeout_seconds = timeout_ms / 1000
        self._free = threading.Semaphore(prefetch)

    def __next__(self) -> MessageProxy | None:
        if not self._free.acquire(timeout=self._timeout_seconds):
            return None
        popped: Any = None
        try:
            popped = self._client.bzpopmin(self._key, timeout=self._timeout_seconds)
            return MessageProxy(_message(Ring(popped[1].decode(), self._queue_name, 0))) if popped else None
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None
        finally:
            if not popped:
                self._free.release()

    def ack(self, message: MessageProxy) -> None:  # noqa: ARG002 - nothing is kept of it
        self._free.release()

    def nack(self, message: MessageProxy) -> None:  # noqa: ARG002 - see ack
        self._free.release()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            self._client.zadd(self._key, {message.args[0]: _rank(message)})


def _rank(message: Any) -> float:
    """Lowest first: by priority, then by time. Milliseconds fit beside the priority in the 53 bits of a score."""
    priority = message.options.get("broker_priority", 0)
    return float((_MAX_PRIORITY - priority) * 10**14 + message.message_timestamp)


def make_broker(
    *, broker_url: str | None, redis_url: str, middleware: Iterable[Middleware] = (), prefetch: int | None = None
) -> _Rabbit | _Embedded:
    """The broker for `amqp://...`, or the one on the embedded store.

    prefetch: messages a process takes from a queue before it has finished them; default: Dramatiq's.
    """
    scheme = urlsplit(broker_url).scheme if broker_url else "redis"
    if scheme in ("amqp", "amqps"):
        broker: _Rabbit | _Embedded = _Rabbit(str(broker_url), prefetch=prefetch)
    elif scheme in ("redis", "rediss", "unix"):
        broker = _Embedded(broker_url or redis_url, prefetch=prefetch)
    else:
        raise InvalidRequest(f"CVPIPE_BROKER_URL must begin with amqp:// (or redis://), not {scheme}://")
    for item in middleware:
        broker.add_middleware(item)
    return broker


def check_broker(url: str | None, queues: Iterable[str]) -> bool:
    """Whether RabbitMQ answers, where there is to be one, and has our queues as we declare them.

    One that does not answer is no reason not to start: the store knows what is to be done. queues: logical names.
    Raises: InvalidRequest (the guest's password on another machine); Conflict (a queue with other arguments).
    """
    if url is None or not url.startswith("amqp"):
        return True
    parameters = pika.URLParameters(url)
    credentials = parameters.credentials
    if (credentials.username, credentials.password) == ("guest", "guest") and not is_loopback_host(parameters.host):
        raise InvalidRequest(
            f"RabbitMQ at {parameters.host} is to be used as guest/guest, as anybody may: make a user of its own "
            "(`rabbitmqctl add_user cvpipe ...`, `set_permissions`), and name it in CVPIPE_BROKER_URL"
        )
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 3
    parameters.connection_attempts = 1
    try:
        connection = pika.BlockingConnection(parameters)
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError):
        return False
    try:
        for name in map(queue_name, queues):
            try:
                connection.channel().queue_declare(name, durable=True, arguments={"x-max-priority": _MAX_PRIORITY})
            except pika.exceptions.ChannelClosedByBroker as error:
                if error.reply_code != _PRECONDITION_FAILED:
                    raise
                raise Conflict(
                    f"the queue {name} was declared with other arguments: remove it with `rabbitmqctl delete_queue "
                    f"{name}`; nothing is lost, the store rings again"
                ) from None
    except pika.exceptions.AMQPError:
        return False
    finally:
        with suppress(pika.exceptions.AMQPError):
            connection.close()
    return True


class Bell:
    """Rings for tasks: publishes from one thread of its own, so that no caller ever waits for the broker.

    What is rung for while the broker is told is told together. A ring that fails is dropped: the task is in the due
    set, and the sweeper rings again.
    Memory: at most `limit` pending rings; more are dropped the same way.
    """

    def __init__(self, broker: _Rabbit | _Embedded, *, limit: int = 100_000) -> None:
        self._broker = broker
        self._pending: queue.Queue[Ring | None] = queue.Queue(maxsize=limit)
        self.healthy = True
        self._thread = threading.Thread(target=self._publish, name="bell", daemon=True)
        self._thread.start()

    def ring(self, rings: Iterable[Ring]) -> None:
        """Tell the broker that somebody should look at these tasks. Returns at once, never raises."""
        for item in rings:
            try:
                self._pending.put_nowait(item)
            except queue.Full:
                log.warning("too many pending rings; the sweeper will ring for %s", item.task)

    def close(self, timeout_seconds: float = 5) -> None:
        """Publish what is pending, then stop."""
        self._pending.put(None)
        self._thread.join(timeout_seconds)

    def _publish(self) -> None:
        is_last = False
        while not is_last and (first := self._pending.get()) is not None:
            rings = [first]
            with suppress(queue.Empty):
                while len(rings) < _TOGETHER:
                    if (following := self._pending.get_nowait()) is None:
                        is_last = True
                        break
                    rings.append(following)
            try:
                self._broker.ring_all(rings)
                self.healthy = True
                time.sleep(_REST_SECONDS)
            except Exception as error:  # noqa: BLE001
                if self.healthy:
                    log.warning("the broker does not answer (%s); the sweeper will ring again", error)
                self.healthy = False
                if not is_last and not self._drop_pending():
                    return

    def _drop_pending(self) -> bool:
        """Leave what has piled up behind a broken connection to the sweeper. False: told to stop."""
        deadline = time.monotonic() + _PAUSE_SECONDS
        while (wait := deadline - time.monotonic()) > 0:
            try:
                if self._pending.get(timeout=wait) is None:
                    return False
            except queue.Empty:
                return True
        return True


def _task_in(body: bytes) -> str | None:
    """The task that a message is about; None where it is about none."""
    try:
        task = json.loads(body)["args"][0]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return task if isinstance(task, str) and _TASK.fullmatch(task) else None


def _message(ring: Ring) -> dramatiq.Message[Any]:
    return dramatiq.Message(
        queue_name=queue_name(ring.queue),
        actor_name=ACTOR_OF_TASK[ring.task.partition(":")[0]],
        args=(ring.task, ring.queue.removeprefix(QUEUE_PREFIX)),
        message_id=ring.task,
        kwargs={},
        options={"broker_priority": ring.priority},
    )
