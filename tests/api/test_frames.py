"""/v1/jobs/{id}/frames on a running service."""

import json
from typing import Any

import httpx
import pytest

from cvpipe.api import frames
from cvpipe.store import Store
from tests.api import worker

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
def job(api: httpx.Client, store: Store) -> str:
    """A job that has found 30 records, ten a second."""
    job = str(worker.submit(api)["id"])
    worker.run(store, job, chunks=3)
    return job


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["frame"] for row in rows]


def test_pages_hold_every_record_once_and_in_order(api: httpx.Client, job: str) -> None:
    rows: list[dict[str, Any]] = []
    cursor, sizes = None, []
    while True:
        page = api.get(f"/v1/jobs/{job}/frames", params={"limit": 12} | ({"cursor": cursor} if cursor else {})).json()
        rows += page["frames"]
        sizes.append(len(page["frames"]))
        cursor = page["next"]
        assert page["complete"] == (cursor is None)
        if page["complete"]:
            break
    assert sizes == [12, 12, 6]
    assert rows == [worker.make_record(number).to_dict() for number in range(30)]


def test_a_record_has_the_documented_shape(api: httpx.Client, job: str) -> None:
    row = api.get(f"/v1/jobs/{job}/frames", params={"from": 1.2, "limit": 1}).json()["frames"][0]
    assert row == {
        "frame": 12,
        "pts": 6144,
        "time": 1.2,
        "status": "ok",
        "objects": [
            {
                "stage": "people",
                "label": "person",
                "class_id": 0,
                "score": 0.5,
                "box": [12, 1, 21, 20],
                "track": None,
                "text": None,
            }
        ],
        "values": {"edges": {"density": 0.25}},
    }
    assert frames.FrameRecord.model_validate(row).frame == 12


@pytest.mark.parametrize(
    ("params", "first", "last"),
    [
        pytest.param({"from": 1}, 10, 29, id="from"),
        pytest.param({"to": 1}, 0, 9, id="to"),
        pytest.param({"from": 0.5, "to": 2.5}, 5, 24, id="both, over chunks"),
        pytest.param({"from": 1.05, "to": 1.15}, 11, 11, id="between frames"),
    ],
)
def test_records_can_be_asked_for_by_time(
    api: httpx.Client, job: str, params: dict[str, float], first: int, last: int
) -> None:
    page = api.get(f"/v1/jobs/{job}/frames", params=params).json()
    assert numbers(page["frames"]) == list(range(first, last + 1))
    assert (page["complete"], page["next"]) == (True, None)


def test_a_running_job_shows_what_there_is_and_where_to_go_on(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    address = f"/v1/jobs/{job}/frames"
    nothing_yet = api.get(address, params={"from": 0.5}).json()
    assert (nothing_yet["frames"], nothing_yet["complete"]) == ([], False)
    worker.plan(store, job, chunks=2)
    held = worker.claim(store, f"chunk:{worker.named(job)}:0:0")
    worker.append(store, held, job, 0, range(8))
    some = api.get(address, params={"from": 0.5, "cursor": nothing_yet["next"]}).json()
    assert (numbers(some["frames"]), some["complete"]) == ([5, 6, 7], False)
    no_more_yet = api.get(address, params={"cursor": some["next"]}).json()
    assert (no_more_yet["frames"], no_more_yet["complete"], no_more_yet["next"]) == ([], False, some["next"])
    worker.append(store, held, job, 0, range(8, 10))
    store.finish_chunk(held, worker.named(job), 0, 0)
    worker.work_chunk(store, job, 1)
    worker.finish(store, job)
    rest = api.get(address, params={"cursor": no_more_yet["next"]}).json()
    assert (numbers(rest["frames"]), rest["complete"], rest["next"]) == (list(range(8, 20)), True, None)


def test_a_chunk_that_is_ready_before_the_one_in_front_of_it_waits(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.plan(store, job, chunks=2)
    worker.work_chunk(store, job, 1)
    assert api.get(f"/v1/jobs/{job}/frames").json()["frames"] == []
    worker.work_chunk(store, job, 0)
    assert numbers(api.get(f"/v1/jobs/{job}/frames").json()["frames"]) == list(range(20))


def test_lines_hold_all_records_and_equal_those_of_the_pages(
    api: httpx.Client, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_BATCH", 7)
    response = api.get(f"/v1/jobs/{job}/frames", headers=NDJSON)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["cvpipe-complete"] == "true"
    assert response.text.endswith("}\n")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines == api.get(f"/v1/jobs/{job}/frames").json()["frames"]
    assert len(lines) == 30


def test_lines_know_time_limit_and_cursor_too(api: httpx.Client, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_BATCH", 4)
    params = {"from": 0.3, "to": 2.8, "limit": 9, "cursor": "500-6"}
    response = api.get(f"/v1/jobs/{job}/frames", params=params, headers=NDJSON)
    assert numbers([json.loads(line) for line in response.text.splitlines()]) == list(range(6, 15))
    assert "cvpipe-complete" not in response.headers


def test_lines_of_a_running_job_say_that_there_will_be_more(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.plan(store, job, chunks=2)
    worker.work_chunk(store, job, 0)
    response = api.get(f"/v1/jobs/{job}/frames", headers=NDJSON)
    assert len(response.text.splitlines()) == 10
    assert response.headers["cvpipe-complete"] == "false"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        pytest.param(None, "application/json", id="no header"),
        pytest.param("*/*", "application/json", id="anything"),
        pytest.param("text/html,application/xml;q=0.9,*/*;q=0.8", "application/json", id="a browser"),
        pytest.param("application/*", "application/json", id="any application"),
        pytest.param("application/x-ndjson, application/json", "application/json", id="both alike"),
        pytest.param("application/x-ndjson;q=0.9, application/json;q=0.1", "application/x-ndjson", id="lines rather"),
        pytest.param("application/x-ndjson, */*;q=0.1", "application/x-ndjson", id="lines or anything"),
        pytest.param("Application/X-NDJSON", "application/x-ndjson", id="upper case"),
        pytest.param("application/jsonl", "application/x-ndjson", id="another name"),
        pytest.param("text/csv", None, id="neither"),
        pytest.param("application/json;q=0", None, id="refused"),
        pytest.param("application/json;q=x", None, id="broken weight"),
    ],
)
def test_the_form_of_the_answer_is_negotiated(
    api: httpx.Client, job: str, accept: str | None, kind: str | None
) -> None:
    request = api.build_request("GET", f"/v1/jobs/{job}/frames")
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    response = api.send(request)
    if kind is None:
        assert (response.status_code, response.json()["type"]) == (406, "/problems/not_acceptable")
    else:
        assert (response.status_code, response.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        pytest.param({"from": 2, "to": 1}, "to", id="out of order"),
        pytest.param({"from": -1}, "from", id="negative"),
        pytest.param({"from": "nan"}, "from", id="no number"),
        pytest.param({"to": "inf"}, "to", id="endless"),
        pytest.param({"limit": 0}, "limit", id="no records"),
        pytest.param({"limit": 1001}, "limit", id="too many"),
        pytest.param({"cursor": "nonsense"}, "cursor", id="no cursor"),
        pytest.param({"cursor": f"{2**64}-1"}, "cursor", id="a cursor beyond 64 bits"),
    ],
)
@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["pages", "lines"])
def test_wrong_parameters_are_refused_by_name(
    api: httpx.Client, job: str, params: dict[str, Any], field: str, headers: dict[str, str]
) -> None:
    response = api.get(f"/v1/jobs/{job}/frames", params=params, headers=headers)
    assert (response.status_code, response.json()["field"]) == (422, field)
