"""/v1/jobs/{id}/events-log on a running service."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cvpipe.events import Event, Moment
from cvpipe.store import Store
from tests.api import worker

NDJSON = {"Accept": "application/x-ndjson"}


def make_event(number: int) -> Event:
    """Number n begins at n seconds and lasts for two; every third is a dwell."""
    start, end = Moment(10 * number, float(number)), Moment(10 * number + 20, number + 2.0)
    row = {"stage": "people", "track": number, "label": "person", "box": [1.5, 2, 3, 4]}
    kind = "line_crossed" if number % 3 else "zone_dwell"
    return Event(kind, "zones", start, end, end, (row,), {"zone": "door"}, number=number)


@pytest.fixture
def job(api: httpx.Client, store: Store) -> str:
    """A job that runs, and has told of nine events."""
    job = str(worker.submit(api)["id"])
    worker.plan(store, job, chunks=1)
    held = worker.claim(store, f"chunk:{worker.named(job)}:0:0")
    events = [(f"{1000 * (n + 2)}-{n}", make_event(n)) for n in range(1, 10)]
    assert store.append_events(held, worker.named(job), events[:6], lease_seconds=30) == []
    assert store.append_events(held, worker.named(job), events, lease_seconds=30) == []  # nobody asked to be told
    store.finish_chunk(held, worker.named(job), 0, 0)
    return job


def numbers(api: httpx.Client, job: str, **params: Any) -> list[int]:
    page = api.get(f"/v1/jobs/{job}/events-log", params=params).json()
    return [row["number"] for row in page["events"]]


def test_pages_hold_every_event_once_and_in_order(api: httpx.Client, job: str) -> None:
    rows: list[dict[str, Any]] = []
    cursor, sizes = None, []
    while sizes[-1:] != [0]:
        params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"/v1/jobs/{job}/events-log", params=params).json()
        rows += page["events"]
        sizes.append(len(page["events"]))
        cursor = page["next"]
        assert not page["complete"]
    assert sizes == [4, 4, 1, 0]
    assert rows == [make_event(n).to_dict() for n in range(1, 10)]


def test_the_last_page_of_a_job_that_is_over_says_so(api: httpx.Client, store: Store, job: str) -> None:
    worker.finish(store, job)
    page = api.get(f"/v1/jobs/{job}/events-log").json()
    assert (len(page["events"]), page["next"], page["complete"]) == (9, None, True)


def test_events_are_chosen_by_kind_and_by_the_time_that_they_touch(api: httpx.Client, job: str) -> None:
    assert numbers(api, job, kind="zone_dwell") == [3, 6, 9]
    assert numbers(api, job, kind=["zone_dwell", "line_crossed"]) == list(range(1, 10))
    assert numbers(api, job, kind="nothing") == []
    assert numbers(api, job, **{"from": 5}) == [3, 4, 5, 6, 7, 8, 9]
    assert numbers(api, job, to=5) == [1, 2, 3, 4]
    assert numbers(api, job, **{"from": 4.5, "to": 5.5, "kind": "line_crossed"}) == [4, 5]


def test_as_lines_all_come_at_once(api: httpx.Client, job: str) -> None:
    response = api.get(f"/v1/jobs/{job}/events-log", headers=NDJSON)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["cvpipe-complete"] == "false"
    assert [json.loads(line) for line in response.text.splitlines()] == [make_event(n).to_dict() for n in range(1, 10)]
    some = api.get(f"/v1/jobs/{job}/events-log", headers=NDJSON, params={"limit": 2, "kind": "zone_dwell"})
    assert [json.loads(line)["number"] for line in some.text.splitlines()] == [3, 6]


@pytest.mark.parametrize(
    ("params", "field"),
    [({"from": 3, "to": 2}, "to"), ({"cursor": "x"}, "cursor"), ({"limit": 0}, "limit"), ({"kinds": "a"}, "kinds")],
)
def test_a_wrong_parameter_is_told(api: httpx.Client, job: str, params: dict[str, Any], field: str) -> None:
    response = api.get(f"/v1/jobs/{job}/events-log", params=params)
    assert response.status_code == 422
    assert field in response.text


def test_of_a_job_that_is_not_there_nothing_is_told(api: httpx.Client) -> None:
    assert api.get("/v1/jobs/nobody/events-log").status_code == 404
    assert api.get("/v1/jobs/nobody/events-log", headers=NDJSON).status_code == 404


def test_the_log_goes_with_its_job(api: httpx.Client, store: Store, job: str) -> None:
    worker.finish(store, job)
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    assert list(store.client.scan_iter(f"cvpipe:job:{worker.named(job)}*")) == []
