"""Messages: what a job's webhook is told, each with its own fate, and the log of all attempts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cvpipe.errors import NotFound
from cvpipe.job import Delivery, DeliveryLog, Message
from cvpipe.store.connection import Connection, guarded, job_key
from cvpipe.store.tasks import GRACE_MS, Claim, Ring, read_rings
from cvpipe.tenants import id_of

_ATTEMPTS_KEPT = 200

Follows = Literal["delivered", "again", "given_up", "gone"]
"""What follows from an attempt: nothing more, another one, or that it was the last; of all messages of the job."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message to be delivered.

    at: seconds since the epoch at which it happened. tries: attempts since it was last asked for. data: what goes with
    the job in its body. body: as it was sent first; None before that.
    """

    id: str
    event: str
    at: float
    tries: int
    attempts: int
    data: Mapping[str, Any]
    body: bytes | None


class Messages(Connection):
    """What notifiers do, and what the API tells of it."""

    @guarded
    def announce(self, job_id: str, event: str, data: Mapping[str, Any], *, once: bool = False) -> list[Ring]:
        """Tell a job's receiver of an event that is no change of state, if it wants to know; `once`: the first only."""
        args = [job_id, event, int(once), json.dumps(dict(data)), GRACE_MS]
        return read_rings(self._scripts["announce"](args=args))

    @guarded
    def message(self, job_id: str, number: str) -> Told | None:
        """A message to be delivered; None where its job, or itself, is gone."""
        key = job_key(job_id)
        raw, body = self._redis.hget(f"{key}:messages", number), self._redis.hget(f"{key}:bodies", number)
        if raw is None:
            return None
        known = json.loads(raw)
        data = json.loads(known.get("data") or "{}")
        return Told(
            _id(job_id, number), known["event"], known["at"] / 1000, known["tries"], known["attempts"], data, body
        )

    @guarded
    def keep_body(self, job_id: str, number: str, body: bytes) -> bytes:
        """Keep what is sent, so that it is the same each time; returns what was kept first."""
        key = f"{job_key(job_id)}:bodies"
        self._redis.hsetnx(key, number, body)
        return self._redis.hget(key, number) or body

    @guarded
    def put_delivery(
        self, claim: Claim, job_id: str, number: str, delivery: Delivery, *, follows: Follows, wait_seconds: float = 0
    ) -> None:
        """Log an attempt, and commit what follows from it, if the task is still ours."""
        wait = int(wait_seconds * 1000)
        args = [job_id, number, claim.token, delivery.model_dump_json(), follows, wait, _ATTEMPTS_KEPT]
        self._scripts["delivered"](args=args)

    @guarded
    def delivery_log(self, job_id: str) -> DeliveryLog:
        """What a job's receiver was told, and how that went, oldest first. Raises: NotFound."""
        key = job_key(job_id)
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(key, "doc", "webhook_gone")
        pipe.hgetall(f"{key}:messages")
        pipe.lrange(f"{key}:deliveries", 0, -1)
        (doc, gone), messages, attempts = pipe.execute()
        if doc is None:
            raise NotFound(f"there is no job {id_of(job_id)!r}")
        numbers = sorted(messages, key=int)
        return DeliveryLog(
            url=json.loads(doc).get("webhook_url"),
            gone=gone is not None,
            messages=[_shown(job_id, number.decode(), json.loads(messages[number])) for number in numbers],
            attempts=[Delivery.model_validate_json(raw) for raw in attempts],
        )

    @guarded
    def redeliver(self, job_id: str, message_id: str | None) -> tuple[Message, list[Ring]]:
        """Have a message delivered now, from the start of its schedule; None: a new one, for a test.

        Raises: NotFound.
        """
        number = "" if message_id is None else message_id.rpartition("_")[2]
        if message_id is not None and message_id != _id(job_id, number):
            raise NotFound(f"the job has told of no {message_id!r}", field="message_id")
        found, rings = self._commit("redeliver", [job_id, number, GRACE_MS])
        raw = self._redis.hget(f"{job_key(job_id)}:messages", found) if found else None
        if raw is None:
            what = (
                f"there is no job {id_of(job_id)!r}" if message_id is None else f"the job has told of no {message_id!r}"
            )
            raise NotFound(what)
        return _shown(job_id, found.decode(), json.loads(raw)), read_rings(rings)

    @guarded
    def receiver_enter(self, origin: str, claim: Claim, *, seconds: float) -> float:
        """Whether a receiver may be called now, by an attempt of at most so long: 0, or seconds to wait."""
        return (
            float(self._scripts["receiver_enter"](args=[origin, claim.task, claim.token, int(seconds * 1000)])) / 1000
        )

    @guarded
    def receiver_leave(self, origin: str, claim: Claim, *, seconds: float, answered: bool) -> None:
        """The call is over. answered: the receiver was there, whatever it said."""
        self._scripts["receiver_leave"](args=[origin, claim.task, claim.token, int(seconds * 1000), int(answered)])


def _id(job_id: str, number: str) -> str:
    """The same at each attempt, so that a receiver can drop repeats."""
    return f"msg_{id_of(job_id)}_{number}"


def _shown(job_id: str, number: str, known: Mapping[str, Any]) -> Message:
    next_at = known.get("next_at")
    return Message(
        id=_id(job_id, number),
        event=known["event"],
        at=known["at"] / 1000,
        state=known["state"],
        attempts=known["attempts"],
        next_at=None if next_at is None else next_at / 1000,
    )
