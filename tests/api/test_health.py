"""Health, metrics, and what the service does while its store is away."""

import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cvpipe.store import Store, WorkerState
from tests.api import worker
from tests.api.conftest import Service
from tests.servers import RedisServer


def metrics(api: httpx.Client) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    response = api.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_a_service_that_can_work_says_so(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok", "workers": [], "protection": None}
    assert api.get("/readyz").json() == {"status": "ready", "store": "up", "broker": "up"}


def test_workers_and_what_protects_them_are_told(api: httpx.Client, store: Store) -> None:
    store.put_worker(WorkerState("a:1", ["cpu", "ingest"], ["limits", "no-network", "no-files"]), keep_seconds=30)
    store.put_worker(WorkerState("b:2", ["cpu"], ["limits", "no-files"]), keep_seconds=30)
    store.put_worker(WorkerState("c:3", ["notify"], None), keep_seconds=30)
    store.put_worker(WorkerState("d:4", ["cpu"], []), keep_seconds=0.001)  # silent since
    store.put_worker(WorkerState("e:5", ["cpu"], []), keep_seconds=30)
    store.remove_worker("e:5")
    time.sleep(0.02)
    assert api.get("/healthz").json() == {
        "status": "ok",
        "workers": [
            {"name": "a:1", "queues": ["cpu", "ingest"], "protection": ["limits", "no-network", "no-files"]},
            {"name": "b:2", "queues": ["cpu"], "protection": ["limits", "no-files"]},
            {"name": "c:3", "queues": ["notify"], "protection": None},
        ],
        "protection": ["limits", "no-files"],
    }


def test_what_networks_do_is_told_for_each_worker_and_model(api: httpx.Client, store: Store) -> None:
    use = {"pictures": 30, "calls": 2.0, "places": 32.0, "blank": 2.0, "wait_seconds": 0.5, "device_seconds": 0.25}
    engine = {"device": "cuda:0", "limit_bytes": 2**30, "loaded": {"yolox@1": 2**20}, "models": {"yolox@1": use}}
    engine["decoded"] = {"cpu": 7, "nvdec": 300}
    store.put_worker(WorkerState("a:1", ["gpu"], None, engine), keep_seconds=30)
    store.put_worker(WorkerState("b:2", ["cpu"], None), keep_seconds=30)
    found = {
        name: value
        for name, value in metrics(api).items()
        if name[0].startswith(("cvpipe_network", "cvpipe_model", "cvpipe_decoded"))
    }
    here = ("cuda:0", "yolox@1", "a:1")  # labels come sorted: device, model, worker
    assert found == {
        ("cvpipe_network_pictures_total", *here): 30,
        ("cvpipe_network_calls_total", *here): 2,
        ("cvpipe_network_queue_seconds_total", *here): 0.5,
        ("cvpipe_network_device_seconds_total", *here): 0.25,
        ("cvpipe_network_batch_fill", *here): 0.9375,
        ("cvpipe_network_padding_waste", *here): 0.0625,
        ("cvpipe_model_bytes", *here): 2**20,
        ("cvpipe_models_limit_bytes", "cuda:0", "a:1"): 2**30,
        ("cvpipe_decoded_frames_total", "cpu", "a:1"): 7,
        ("cvpipe_decoded_frames_total", "nvdec", "a:1"): 300,
    }
    store.remove_worker("a:1")
    store.remove_worker("b:2")


def test_requests_are_counted_by_route_and_status(api: httpx.Client) -> None:
    before = metrics(api)
    video = worker.upload(api)["id"]
    for path in (f"/v1/videos/{video}", "/v1/videos/" + "0" * 64, "/nowhere", "/elsewhere"):
        api.get(path)
    after = metrics(api)

    def more(*key: str) -> float:
        return after.get(key, 0) - before.get(key, 0)

    assert more("cvpipe_http_requests_total", "PUT", "/v1/videos", "201") == 1
    assert more("cvpipe_http_requests_total", "GET", "/v1/videos/{video_id}", "200") == 1
    assert more("cvpipe_http_requests_total", "GET", "/v1/videos/{video_id}", "404") == 1
    assert more("cvpipe_http_requests_total", "GET", "none", "404") == 2
    assert more("cvpipe_http_request_seconds_count", "GET", "/v1/videos/{video_id}") == 2
    assert more("cvpipe_http_request_seconds_sum", "GET", "/v1/videos/{video_id}") > 0


def test_methods_nobody_knows_make_no_new_series(api: httpx.Client) -> None:
    api.request("PROPFIND", "/v1/jobs")
    assert ("cvpipe_http_requests_total", "other", "/v1/jobs", "405") in metrics(api)


def test_jobs_and_tasks_are_counted_when_asked(api: httpx.Client, store: Store) -> None:
    worker.submit(api)
    done, canceled = worker.submit(api)["id"], worker.submit(api)["id"]
    worker.run(store, done)
    api.post(f"/v1/jobs/{canceled}/cancel")
    found = metrics(api)
    assert {state: found["cvpipe_jobs", state] for state in ("queued", "running", "succeeded", "canceled")} == {
        "queued": 1,
        "running": 0,
        "succeeded": 1,
        "canceled": 1,
    }
    assert found["cvpipe_tasks",] == 2  # the queued job's ingest, and the video's probe
    assert found["cvpipe_tasks_overdue",] == 0
    assert found["cvpipe_store_up",] == 1


@pytest.fixture
def no_store(service: Service, redis_server: RedisServer) -> Iterator[None]:
    """The store is away."""
    redis_server.kill()
    yield
    redis_server.start()


@pytest.mark.usefixtures("no_store")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/readyz"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/j"),
        ("GET", "/v1/jobs/j/frames"),
        ("GET", "/v1/jobs/j/events"),
        ("GET", "/v1/jobs/j/exports/frames.ndjson"),
        ("POST", "/v1/jobs/j/cancel"),
        ("DELETE", "/v1/jobs/j"),
        ("GET", "/v1/videos/" + "0" * 64),
        ("PUT", "/v1/videos"),
        ("POST", "/v1/jobs"),
    ],
)
def test_while_the_store_is_away_requests_are_to_be_tried_again(api: httpx.Client, method: str, path: str) -> None:
    body = {"content": b"video"} if method == "PUT" else {}
    if (method, path) == ("POST", "/v1/jobs"):
        body = {"json": {"video": "0" * 64, "pipeline": worker.PIPELINE}}  # type: ignore[dict-item]
    response = api.request(method, path, **body)  # type: ignore[arg-type]
    assert (response.status_code, response.json()["type"]) == (503, "/problems/store_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert "Traceback" not in response.text


@pytest.mark.usefixtures("no_store")
def test_while_the_store_is_away_the_process_lives_and_tells_its_metrics(api: httpx.Client) -> None:
    assert api.get("/healthz").status_code == 200
    assert api.get("/v1/stages").status_code == 200
    found = metrics(api)
    assert found["cvpipe_store_up",] == 0
    assert ("cvpipe_jobs", "queued") not in found


def test_the_service_works_again_once_the_store_is_back(
    service: Service, api: httpx.Client, redis_server: RedisServer
) -> None:
    job = worker.submit(api)["id"]
    redis_server.kill()
    try:
        assert api.get(f"/v1/jobs/{job}").status_code == 503
    finally:
        redis_server.start()
    assert api.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_a_store_that_hangs_makes_the_service_unready_within_seconds(
    api: httpx.Client, redis_server: RedisServer
) -> None:
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        response = api.get("/readyz")
        assert time.monotonic() - began < 30
        assert response.status_code == 503
        assert api.get("/healthz").status_code == 200
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
