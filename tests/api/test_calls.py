from __future__ import annotations

import httpx

from cvpipe.calls import CallItem, CallRecord
from cvpipe.client import Client
from cvpipe.job import JobError
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service


def make_call(number: int, **changes: object) -> CallRecord:
    plain = CallRecord(
        id=f"{number:032x}", number=number, stage="ask", state="answered", server="https://models.example.com",
        attempts=1, status=200, items=[CallItem(of="cars", frame=number, values={"colour": "red"})],
    )  # fmt: skip
    return plain.model_copy(update=changes)


def filled(api: httpx.Client, store: Store, count: int) -> str:
    job = str(worker.submit(api)["id"])
    held = worker.claim(store, f"ingest:{worker.named(job)}")
    for number in range(count, 0, -1):
        store.put_call(held, worker.named(job), make_call(number), lease_seconds=30)
    return job


def test_the_ledger_is_told_in_order_by_pages(api: httpx.Client, store: Store) -> None:
    job = filled(api, store, 5)
    first = api.get(f"/v1/jobs/{job}/calls", params={"limit": 3}).json()
    assert [call["number"] for call in first["calls"]] == [1, 2, 3]
    assert first["calls"][0]["items"][0]["values"] == {"colour": "red"}
    rest = api.get(f"/v1/jobs/{job}/calls", params={"limit": 3, "after": first["next"]}).json()
    assert ([call["number"] for call in rest["calls"]], rest["next"]) == ([4, 5], None)


def test_what_failed_is_settled_for_its_round_only() -> None:
    failed = make_call(1, state="failed", error=JobError(code="call_refused", message="HTTP 500"))
    assert (failed.is_settled(0), failed.is_settled(1)) == (True, False)
    assert make_call(1).is_settled(1)


def test_the_client_follows_the_pages(service: Service, api: httpx.Client, store: Store) -> None:
    job = filled(api, store, 3)
    with Client(service.url) as client:
        assert [call.number for call in client.calls(job)] == [1, 2, 3]


def test_a_job_that_is_not_there_has_no_ledger(api: httpx.Client) -> None:
    assert api.get("/v1/jobs/nobody/calls").status_code == 404
