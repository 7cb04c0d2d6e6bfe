from __future__ import annotations

from typing import Any

import httpx
import pytest

from cvpipe.job import Delivery
from cvpipe.store import Claim, Store
from tests.api import worker

HOOK = {"url": "https://receiver.test/hook", "secrets": ["whsec_c2VjcmV0MQ==", "whsec_c2VjcmV0Mg=="]}


def submit(api: httpx.Client, **webhook: Any) -> str:
    return str(worker.submit(api, webhook={**HOOK, **webhook})["id"])


def test_the_log_says_what_was_told_and_how_it_went(api: httpx.Client, store: Store) -> None:
    job = submit(api, events=["job.queued", "job.canceled"])
    api.post(f"/v1/jobs/{job}/cancel")
    held = store.claim(f"notify:default/{job}:1", lease_seconds=30)
    assert isinstance(held, Claim)
    attempt = Delivery(
        message=f"msg_{job}_1", event="job.queued", attempt=1, at=1.0, status=500, error="HTTP 500", delivered=False
    )
    store.put_delivery(held, f"default/{job}", "1", attempt, follows="again", wait_seconds=60)
    log = api.get(f"/v1/jobs/{job}/deliveries").json()
    assert (log["url"], log["gone"]) == ("https://receiver.test/hook", False)
    shown = [(m["id"], m["event"], m["state"], m["attempts"]) for m in log["messages"]]
    assert shown == [
        (f"msg_{job}_1", "job.queued", "pending", 1),
        (f"msg_{job}_2", "job.canceled", "pending", 0),
    ]
    assert log["messages"][0]["next_at"] > log["messages"][0]["at"] + 50
    assert [(a["message"], a["status"], a["error"]) for a in log["attempts"]] == [(f"msg_{job}_1", 500, "HTTP 500")]


def test_a_message_can_be_delivered_again_and_a_test_sent(api: httpx.Client, store: Store) -> None:
    job = submit(api)
    test = api.post(f"/v1/jobs/{job}/deliveries/test")
    assert (test.status_code, test.json()["event"]) == (202, "webhook.test")
    message = test.json()["id"]
    again = api.post(f"/v1/jobs/{job}/deliveries/{message}/redeliver")
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, message, "pending")
    assert isinstance(store.claim(f"notify:default/{job}:1", lease_seconds=30), Claim)


def test_what_is_not_there_can_not_be_delivered(api: httpx.Client) -> None:
    job = submit(api)
    assert api.post(f"/v1/jobs/{job}/deliveries/msg_{job}_7/redeliver").status_code == 404
    assert api.post("/v1/jobs/nobody/deliveries/test").status_code == 404
    assert api.get("/v1/jobs/nobody/deliveries").status_code == 404
    mute = worker.submit(api)["id"]
    refused = api.post(f"/v1/jobs/{mute}/deliveries/test")
    assert (refused.status_code, refused.json()["detail"]) == (
        409, "the job has no webhook; give it one with `webhook` when it is submitted"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("webhook", "field", "words"),
    [
        ({"events": ["job.exploded"]}, "webhook.events.0", "wanted one of job.queued"),
        ({"events": []}, "webhook.events", "at least 1"),
        ({"secret": "whsec_c2VjcmV0MQ=="}, "webhook", "give `secret` or `secrets`, not both"),
        ({"secrets": ["whsec_c2VjcmV0MQ==", "whsec_no base64"]}, "webhook.secrets.1", "is not base64"),
        ({"progress_percent": 0}, "webhook.progress_percent", "greater than or equal to 1"),
        ({"url": "http://169.254.169.254/"}, "webhook.url", "link-local address, which is never called"),
        ({"url": "http://127.0.0.1:9/"}, "webhook.url", "CVPIPE_OUTSIDE_LOOPBACK"),
        ({"url": "http://2130706433/"}, "webhook.url", "loopback"),
    ],
)
def test_a_webhook_that_can_not_be_is_refused_at_once(
    api: httpx.Client, webhook: dict[str, Any], field: str, words: str
) -> None:
    body = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE, "webhook": {**HOOK, **webhook}}
    answer = api.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert words in answer.json()["detail"]
    assert "c2VjcmV0" not in answer.text
