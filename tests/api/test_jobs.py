"""/v1/jobs on a running service."""

import httpx
import pytest

from cvpipe.job import JobError, JobState
from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service


def with_stages(*stages: dict[str, object]) -> dict[str, object]:
    return {"pipeline": {"name": "p", "stages": stages}}


def test_a_job_is_accepted_with_its_address_its_links_and_the_pipelines_defaults(api: httpx.Client) -> None:
    video = worker.upload(api)
    response = api.post("/v1/jobs", json={"video": video["id"], "pipeline": worker.PIPELINE, "labels": {"camera": "3"}})
    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["video"], job["labels"], job["priority"]) == ("queued", video["id"], {"camera": "3"}, 4)
    assert job["pipeline"]["stages"] == [
        {"name": "decimate", "queue": None, "when": None, "type": "decimate", "fps": 25.0, "every": None, "keep": None}
    ]
    assert job["links"] == {
        "self": f"/v1/jobs/{job['id']}",
        "frames": f"/v1/jobs/{job['id']}/frames",
        "events": f"/v1/jobs/{job['id']}/events",
        "cancel": f"/v1/jobs/{job['id']}/cancel",
        "pause": f"/v1/jobs/{job['id']}/pause",
        "video": f"/v1/videos/{video['id']}",
    }
    assert api.get(response.headers["location"]).json() == job


def test_an_idempotency_key_gets_the_same_job_again(api: httpx.Client) -> None:
    request = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE}
    first = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k-1"})
    again = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k-1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(api.get("/v1/jobs").json()["jobs"]) == 1


def test_an_idempotency_key_used_for_another_request_is_a_conflict(api: httpx.Client) -> None:
    request = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE}
    api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k-1"})
    other = api.post("/v1/jobs", json=request | {"priority": 9}, headers={"Idempotency-Key": "k-1"})
    assert other.status_code == 409
    assert (other.json()["type"], other.json()["field"]) == ("/problems/conflict", "Idempotency-Key")


def test_jobs_are_listed_newest_first_by_pages_each_once(api: httpx.Client) -> None:
    ids = [worker.submit(api)["id"] for _ in range(5)]
    seen, cursor, sizes = [], None, []
    while True:
        page = api.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [job["id"] for job in page["jobs"]]
        sizes.append(len(page["jobs"]))
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(ids, reverse=True)
    assert sizes == [2, 2, 1]


def test_jobs_are_listed_by_state_and_by_label(api: httpx.Client) -> None:
    worker.submit(api, labels={"camera": "1"})
    wanted = worker.submit(api, labels={"camera": "3", "site": "a=b"})
    canceled = worker.submit(api, labels={"camera": "3"})
    api.post(f"/v1/jobs/{canceled['id']}/cancel")

    def ids(**params: str) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=params).json()["jobs"]]

    assert ids(label="camera=3") == [canceled["id"], wanted["id"]]
    assert ids(label="site=a=b") == [wanted["id"]]
    assert ids(label="camera=3", state="canceled") == [canceled["id"]]
    assert ids(label="camera=") == []


def test_progress_shows_what_is_done(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    worker.plan(store, job, chunks=2)
    worker.work_chunk(store, job, 0)
    shown = api.get(f"/v1/jobs/{job}").json()
    progress = shown["progress"]
    assert shown["state"] == "running"
    assert (progress["frames_done"], progress["frames_total"], progress["fraction"]) == (10, 20, 0.5)
    assert (progress["chunks_done"], progress["chunks_total"], progress["chunks_failed"]) == (1, 2, 0)
    assert progress["fps"] > 0
    assert progress["eta_seconds"] >= 0


def test_a_canceled_job_is_over_at_once_and_canceling_it_again_does_no_harm(api: httpx.Client) -> None:
    job = worker.submit(api)["id"]
    first, again = (api.post(f"/v1/jobs/{job}/cancel") for _ in range(2))
    assert (first.status_code, first.json()["state"]) == (200, "canceled")
    assert again.json() == first.json()
    assert "cancel" not in first.json()["links"]


def test_a_job_that_is_over_can_be_deleted_and_is_gone(api: httpx.Client, store: Store, settings: Settings) -> None:
    job = worker.submit(api)["id"]
    refused = api.delete(f"/v1/jobs/{job}")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    worker.plan(store, job)
    worker.work_chunk(store, job, 0)
    worker.finish(store, job, folder=settings.data_dir, exports={"frames.ndjson": b"{}\n"})
    deleted = api.delete(f"/v1/jobs/{job}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert not (settings.data_dir / "jobs" / "default" / job).exists()
    for method, path in (("GET", ""), ("GET", "/frames"), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        gone = api.request(method, f"/v1/jobs/{job}{path}")
        assert (gone.status_code, gone.json()["type"]) == (404, "/problems/not_found"), (method, path)


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        pytest.param({"pipeline": None}, 422, "invalid_request", "pipeline", id="no pipeline"),
        pytest.param({"pipeline": "nope"}, 404, "not_found", "pipeline", id="unknown pipeline"),
        pytest.param(with_stages(), 422, "invalid_pipeline", "pipeline.stages", id="no stages"),
        pytest.param(
            with_stages({"type": "decimate", "fps": 1}, {"type": "resize", "width": 0, "height": 9}),
            422, "invalid_pipeline", "pipeline.stages.1.width", id="an option out of range",
        ),
        pytest.param(
            with_stages({"type": "decimat", "fps": 1}),
            422, "invalid_pipeline", "pipeline.stages.0.type", id="unknown stage",
        ),
        pytest.param({"video": "0" * 64}, 404, "not_found", "video", id="unknown video"),
        pytest.param({"video": "zz"}, 422, "invalid_request", "video", id="no sha256"),
        pytest.param({"video": None}, 422, "invalid_request", None, id="neither video nor path"),
        pytest.param({"path": "/x"}, 422, "invalid_request", None, id="both video and path"),
        pytest.param({"priority": 10}, 422, "invalid_request", "priority", id="priority out of range"),
        pytest.param({"range": {"from": 2, "to": 1}}, 422, "invalid_request", "range", id="range out of order"),
        pytest.param({"labels": {"k": 1}}, 422, "invalid_request", "labels.k", id="label is no text"),
        pytest.param({"webhook": {"url": "ftp://x"}}, 422, "invalid_request", "webhook.url", id="webhook by ftp"),
        pytest.param({"webhook": {"url": "http://x"}}, 422, "invalid_request", "webhook.secret", id="nothing signs"),
        pytest.param({"colour": "red"}, 422, "invalid_request", "colour", id="unknown field"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_with_the_path_of_the_value(
    api: httpx.Client, changes: dict[str, object], status: int, code: str, field: str | None
) -> None:
    request = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE} | changes
    response = api.post("/v1/jobs", json={name: value for name, value in request.items() if value is not None})
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["type"], problem.get("field")) == (status, f"/problems/{code}", field)
    assert problem["status"] == status
    assert problem["instance"] == "/v1/jobs"
    assert api.get("/v1/jobs").json()["jobs"] == []


def test_a_job_may_name_a_file_under_an_open_folder(api: httpx.Client, settings: Settings) -> None:
    root = settings.roots_of("default")[0]
    (root / "door.mp4").write_bytes(b"video")
    (root / "link.mp4").symlink_to(root / "door.mp4")
    job = worker.submit(api, video=None, path=str(root / "link.mp4"))
    assert (job["path"], job["video"]) == (str(root / "door.mp4"), None)
    assert "video" not in job["links"]


def test_a_file_outside_the_open_folders_is_refused_and_nothing_is_told_of_it(
    api: httpx.Client, settings: Settings
) -> None:
    secret = settings.roots_of("default")[0].parent / "secret.mp4"
    secret.write_bytes(b"another user's")
    (settings.roots_of("default")[0] / "way-out.mp4").symlink_to(secret)
    tried = [
        secret,
        secret.with_name("not-there.mp4"),
        settings.roots_of("default")[0] / "way-out.mp4",
        settings.roots_of("default")[0] / ".." / "secret.mp4",
    ]
    answers = []
    for path in tried:
        response = api.post("/v1/jobs", json={"path": str(path), "pipeline": worker.PIPELINE})
        assert response.status_code == 422
        assert response.json()["field"] == "path"
        answers.append(response.json()["detail"])
    assert len(set(answers)) == 1
    assert "CVPIPE_PATH_ROOTS" in answers[0]
    assert "secret" not in answers[0]


def test_a_broker_that_is_away_does_not_keep_a_job_from_being_accepted(settings: Settings) -> None:
    service = Service(settings.model_copy(update={"broker_url": "amqp://127.0.0.1:1"}))
    service.start()
    try:
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as api:
            assert worker.submit(api)["state"] == "queued"
    finally:
        service.stop()


def test_a_job_waits_and_goes_on_as_it_is_told(api: httpx.Client, store: Store) -> None:
    here = f"/v1/jobs/{worker.submit(api)['id']}"
    paused = api.post(f"{here}/pause")
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert sorted(set(paused.json()["links"]) - {"self", "frames", "events", "video"}) == ["cancel", "resume"]
    assert api.post(f"{here}/retry").json()["detail"] == "the job is paused; resume it instead"
    resumed = api.post(f"{here}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (200, "queued")
    worker.run(store, paused.json()["id"])
    for verb in ("pause", "resume", "retry"):
        refused = api.post(f"{here}/{verb}")
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
        assert refused.json()["detail"].startswith("the job is succeeded; ")


def test_a_failed_job_is_queued_again(api: httpx.Client, store: Store) -> None:
    job = worker.submit(api)["id"]
    error = JobError(code="media_unreadable", message="x")
    name = worker.named(job)
    store.end_job(worker.claim(store, f"ingest:{name}"), name, JobState.failed, error=error, exports=[])
    assert api.get(f"/v1/jobs/{job}").json()["links"]["retry"] == f"/v1/jobs/{job}/retry"
    again = api.post(f"/v1/jobs/{job}/retry")
    assert (again.status_code, again.json()["state"], again.json()["retries"]) == (202, "queued", 1)
    assert again.json()["error"] is None
