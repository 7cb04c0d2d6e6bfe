"""`/v1/jobs/{id}/deliveries`: what a job's webhook was told, and have it told again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from cvpipe.api.identity import READ, SUBMIT, JobName
from cvpipe.api.problems import responses
from cvpipe.api.resources import LifecycleDep, StoreDep
from cvpipe.job import DeliveryLog, Message

router = APIRouter(prefix="/v1", tags=["jobs"])

MessageId = Annotated[
    str,
    Path(
        pattern=r"^msg_[A-Za-z0-9_-]{1,96}$",
        description="As the log of deliveries has it, and the header `webhook-id`.",
        examples=["msg_019b76da8c7d3f1c9a5e7b2d40_2"],
    ),
]


@router.get(
    "/jobs/{job_id}/deliveries",
    dependencies=[READ],
    operation_id="getDeliveries",
    summary="What a job's webhook was told, and how that went",
    response_model=DeliveryLog,
    response_description="Messages and attempts, oldest first.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def get_deliveries(job_id: JobName, store: StoreDep) -> DeliveryLog:
    """Each message with its fate, and every attempt with the status of the answer or what went wrong."""
    return store.delivery_log(job_id)


@router.post(
    "/jobs/{job_id}/deliveries/test",
    dependencies=[SUBMIT],
    operation_id="testWebhook",
    summary="Send a job's webhook a message for a test",
    status_code=202,
    response_model=Message,
    response_description="The message, `webhook.test`; the log of deliveries says what becomes of it.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def test_webhook(job_id: JobName, lifecycle: LifecycleDep) -> Message:
    """Have a message of type `webhook.test` delivered, signed and tried again like any other."""
    return lifecycle.redeliver(job_id, None)


@router.post(
    "/jobs/{job_id}/deliveries/{message_id}/redeliver",
    dependencies=[SUBMIT],
    operation_id="redeliverMessage",
    summary="Deliver a message again",
    status_code=202,
    response_model=Message,
    response_description="The message, which is pending again.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def redeliver_message(job_id: JobName, message_id: MessageId, lifecycle: LifecycleDep) -> Message:
    """Deliver a message now, delivered before or not, with the same id and body, from the start of the schedule.

    A receiver that had said 410 is told of new events again too.
    """
    return lifecycle.redeliver(job_id, message_id)
