"""Notify: deliver a message of a job's webhook."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

from cvpipe import webhooks
from cvpipe.errors import AddressRefused
from cvpipe.job import Delivery, Job
from cvpipe.outside import Target
from cvpipe.settings import Settings
from cvpipe.store.messages import Follows, Told
from cvpipe.work.bench import Bench, Lease, leased

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 10.0
_MARGIN_SECONDS: Final = 5.0


def notify(bench: Bench, task: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Task `notify:<job>:<message>`: deliver a message; tried again over a day.

    timeout_seconds: of an attempt.
    """
    _, job_id, number = task.split(":")
    # Never given up for crashes or faults of ours: only attempts that were made count.
    with leased(bench, task, on_given_up=None) as lease:
        if lease is None:
            return
        told = bench.store.message(job_id, number)
        if told is None:
            bench.store.drop(lease.claim)
            return
        doc = bench.store.job_doc(job_id)
        origin, claim = _origin(doc["webhook_url"]), lease.claim
        # A receiver that is slow or dead must not hold all who deliver: the others' messages wait for them.
        wait = bench.store.receiver_enter(origin, claim, seconds=timeout_seconds + _MARGIN_SECONDS)
        if wait:
            bench.store.release(claim, delay_seconds=wait)
            return
        began, answered = time.monotonic(), False
        try:
            answered = _deliver(bench, lease, told, doc, timeout_seconds)
        finally:
            bench.store.receiver_leave(origin, claim, seconds=time.monotonic() - began, answered=answered)


def _deliver(bench: Bench, lease: Lease, told: Told, doc: dict[str, Any], timeout_seconds: float) -> bool:
    """Make an attempt, and commit what follows. Returns whether the receiver answered."""
    settings, body = bench.settings, told.body
    _, job_id, number = lease.task.split(":")
    if body is None:
        body = bench.store.keep_body(job_id, number, webhook_body(told, bench.store.job(job_id), settings))
    secrets = doc["webhook_secrets"] or str(settings.webhook_secret or "")
    began = time.monotonic()
    result = webhooks.deliver(
        bench.outside, doc["webhook_url"], secrets, told.id, body, timeout_seconds=timeout_seconds
    )
    delivery = Delivery(
        message=told.id,
        event=told.event,
        attempt=told.attempts + 1,
        at=round(time.time(), 3),
        status=result.status,
        error=result.error,
        delivered=result.delivered,
        seconds=round(time.monotonic() - began, 3),
    )
    waits = settings.webhook_schedule
    follows: Follows = "again"
    if result.delivered:
        follows = "delivered"
    elif result.give_up:
        follows = "gone"
    elif told.tries >= len(waits):
        follows = "given_up"
    wait = 0.0
    if follows == "again":
        wait = max(webhooks.backoff_seconds(told.tries + 1, waits), result.retry_after_seconds or 0)
    bench.store.put_delivery(lease.claim, job_id, number, delivery, follows=follows, wait_seconds=wait)
    return result.status is not None


def webhook_body(told: Told, job: Job, settings: Settings) -> bytes:
    """Body of a message: what happened and when, the job, and what belongs to the event."""
    at = datetime.fromtimestamp(told.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = job.model_dump(mode="json", exclude={"deliveries", "gaps"})
    data |= told.data
    if settings.public_url:
        data["links"] = {"self": f"{settings.public_url.rstrip('/')}/v1/jobs/{job.id}"}
    return json.dumps({"type": told.event, "timestamp": at, "data": data}, ensure_ascii=False).encode()


def _origin(url: str) -> str:
    try:
        return Target.parse(url).origin
    except AddressRefused:  # the delivery says so
        return "nowhere"
