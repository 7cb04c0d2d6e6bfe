"""/v1/jobs/{id}/events on a running service."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from cvpipe.api import events
from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service


@dataclass
class Event:
    kind: str
    id: str
    data: dict[str, Any]


def read(response: httpx.Response) -> Iterator[Event]:
    """The events of a stream, comments left out."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if not line:
            if "data" in fields:
                yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def follow(api: httpx.Client, job: str, *, last: str | None = None, **params: Any) -> list[Event]:
    """All events up to the end of the stream."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with api.stream("GET", f"/v1/jobs/{job}/events", params=params, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(read(response))


def frames_of(found: list[Event]) -> list[int]:
    return [event.data["frame"] for event in found if event.kind == "frame"]


def test_a_finished_job_is_told_from_its_beginning_to_its_end(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.run(store, job, chunks=2)
    told = follow(api, job)
    assert [event.kind for event in told] == ["progress", *["frame"] * 20, "done"]
    assert [event.data for event in told[1:-1]] == [worker.make_record(number).to_dict() for number in range(20)]
    assert told[-1].data == api.get(f"/v1/jobs/{job}").json()
    assert told[-1].data["state"] == "succeeded"


def test_frames_can_be_left_out(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.run(store, job)
    assert [event.kind for event in follow(api, job, frames=False)] == ["progress", "done"]


def test_a_running_job_is_followed_live(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    with api.stream("GET", f"/v1/jobs/{job}/events") as response:
        told = read(response)
        first = next(told)
        assert (first.kind, first.data["state"]) == ("progress", "queued")
        worker.plan(store, job, chunks=2)
        assert next(told).data["state"] == "running"
        held = worker.claim(store, f"chunk:{worker.named(job)}:0:0")
        worker.append(store, held, job, 0, range(1))
        began = time.monotonic()
        some = [next(told), next(told)]
        assert time.monotonic() - began < events.KEEP_ALIVE_SECONDS
        assert sorted(event.kind for event in some) == ["frame", "progress"]
        worker.append(store, held, job, 0, range(1, 10))  # announced by no event of its own
        assert [event.data["frame"] for event in (next(told) for _ in range(9))] == list(range(1, 10))
        store.finish_chunk(held, worker.named(job), 0, 0)
        worker.work_chunk(store, job, 1)
        worker.finish(store, job)
        rest = list(told)
    assert frames_of(rest) == list(range(10, 20))
    assert rest[-1].kind == "done"


def test_a_stream_cut_anywhere_is_taken_up_exactly_there(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.run(store, job, chunks=3)
    whole = follow(api, job)
    assert len({event.id for event in whole}) == len(whole)
    for cut in range(len(whole) - 1):
        assert follow(api, job, last=whole[cut].id) == whole[cut + 1 :]


def test_nothing_follows_the_end(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.run(store, job)
    done = follow(api, job)[-1]
    response = api.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": done.id})
    assert (response.status_code, response.content) == (204, b"")


def test_many_records_and_events_come_in_batches_each_once(
    api: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BATCH", 3)
    job = worker.submit(api)["id"]
    worker.run(store, job, chunks=2)
    told = follow(api, job)
    assert frames_of(told) == list(range(20))
    assert [event.kind for event in told].count("done") == 1
    assert told[-1].kind == "done"


def test_a_canceled_job_ends_its_streams_with_what_it_had_found(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.plan(store, job)
    held = worker.claim(store, f"chunk:{worker.named(job)}:0:0")
    worker.append(store, held, job, 0, range(3))
    with api.stream("GET", f"/v1/jobs/{job}/events") as response:
        told = read(response)
        next(told)
        assert api.post(f"/v1/jobs/{job}/cancel").json()["state"] == "canceling"
        store.leave(held)
        rest = list(told)
    assert frames_of(rest) == [0, 1, 2]
    assert (rest[-1].kind, rest[-1].data["state"]) == ("done", "canceled")


def test_a_deleted_job_ends_its_streams_without_done(api: httpx.Client, store: Store, service: Service) -> None:
    job = worker.submit(api)["id"]
    with api.stream("GET", f"/v1/jobs/{job}/events") as response:
        told = read(response)
        next(told)
        store.client.delete(f"cvpipe:job:{worker.named(job)}", f"cvpipe:job:{worker.named(job)}:events")
        assert [event.kind for event in told] == []


def test_a_quiet_stream_is_kept_alive_by_comments(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.2)
    job = worker.submit(api)["id"]
    with api.stream("GET", f"/v1/jobs/{job}/events") as response:
        comments = (line for line in response.iter_lines() if line.startswith(": ping"))
        assert [next(comments) for _ in range(2)] == [": ping", ": ping"]


@pytest.mark.parametrize("last", ["nonsense", "0", "1-1", "1-1_", "1_2_3-4", f"{2**64}-0_0-0", "0_0-0"])
def test_an_id_that_is_none_is_refused(api: httpx.Client, last: str) -> None:
    job = worker.submit(api)["id"]
    response = api.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last})
    assert (response.status_code, response.json()["field"]) == (422, "Last-Event-ID")


def test_streams_that_wait_hold_no_threads(settings: Settings, service: Service, api: httpx.Client) -> None:
    # The pool that runs synchronous code has 40 threads: if a waiting stream held one, nothing else would be answered.
    job = worker.submit(api)["id"]
    limits = httpx.Limits(max_connections=None)
    with ExitStack() as stack, httpx.Client(base_url=service.url, timeout=60, limits=limits, trust_env=False) as many:
        for _ in range(60):
            response = stack.enter_context(many.stream("GET", f"/v1/jobs/{job}/events"))
            assert next(read(response)).kind == "progress"
        assert api.get(f"/v1/jobs/{job}").status_code == 200
        workers = [thread for thread in threading.enumerate() if "AnyIO worker" in thread.name]
        assert len(workers) <= 40
        assert api.post(f"/v1/jobs/{job}/cancel").status_code == 200


def test_streams_end_when_the_service_stops(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvpipe.api.server.GRACE_SECONDS", 100)  # for those that do not end by themselves
    service = Service(settings)
    service.start()
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as api:
        job = worker.submit(api)["id"]
        with api.stream("GET", f"/v1/jobs/{job}/events") as response:
            told = read(response)
            next(told)
            stopping = threading.Thread(target=service.stop)
            stopping.start()
            assert list(told) == []
            stopping.join(60)
            assert not stopping.is_alive()
