"""Notify: deliver the webhook of a job's end."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime

from cvpipe import webhooks
from cvpipe.job import Delivery, Job
from cvpipe.settings import Settings
from cvpipe.work.bench import Bench, leased

log = logging.getLogger(__name__)


def notify(bench: Bench, task: str) -> None:
    """Task `notify:<job>`: deliver the webhook of the job's end; tried again over a day."""
    job_id = task.partition(":")[2]

    # Never given up for crashes or faults of ours: only attempts that were made count.
    with leased(bench, task, on_given_up=None) as lease:
        if lease is None:
            return
        doc = bench.store.job_doc(job_id)
        job = bench.store.job(job_id)
        event = f"job.{job.state}"
        secret = str(doc["webhook_secret"] or bench.settings.webhook_secret)
        # The id is the same for every attempt, so that a receiver can drop repeats.
        attempt = len(job.deliveries) - bench.store.deliveries_before_repair(job_id) + 1
        message = f"msg_{job.id}" + (f"_{job.rounds}" if job.rounds else "")
        result = webhooks.deliver(bench.outside, doc["webhook_url"], secret, message, webhook_body(job, bench.settings))
        delivery = Delivery(
            event=event,
            attempt=attempt,
            at=round(time.time(), 3),
            status=result.status,
            error=result.error,
            delivered=result.delivered,
        )
        bench.store.add_delivery(job_id, delivery)
        if delivery.delivered or result.give_up or attempt >= webhooks.MAX_ATTEMPTS:
            bench.store.drop(lease.claim)
        else:
            wait = max(webhooks.backoff_seconds(attempt), result.retry_after_seconds or 0)
            bench.store.release(lease.claim, delay_seconds=wait)


def webhook_body(job: Job, settings: Settings) -> bytes:
    """Body of the webhook that tells of a job's end."""
    at = datetime.fromtimestamp(job.finished_at or time.time(), UTC).isoformat().replace("+00:00", "Z")
    data = job.model_dump(mode="json", exclude={"deliveries", "gaps"})
    if settings.public_url:
        data["links"] = {"self": f"{settings.public_url.rstrip('/')}/v1/jobs/{job.id}"}
    return json.dumps({"type": f"job.{job.state}", "timestamp": at, "data": data}, ensure_ascii=False).encode()
