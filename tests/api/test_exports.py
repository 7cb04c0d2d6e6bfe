"""/v1/jobs/{id}/exports/{name} on a running service."""

from pathlib import Path

import httpx
import pytest

from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker


@pytest.fixture
def job(api: httpx.Client, store: Store, settings: Settings) -> str:
    """A job with two exports, and a file beside them that is none."""
    job = str(worker.submit(api)["id"])
    worker.plan(store, job)
    worker.work_chunk(store, job, 0)
    exports = {"frames.ndjson": b'{"frame":0}\n', "annotated.mp4": b"0123456789"}
    worker.finish(store, job, folder=settings.data_dir, exports=exports)
    (settings.data_dir / "jobs" / "default" / job / "private.json").write_bytes(b"{}")
    return job


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [("frames.ndjson", "application/x-ndjson", b'{"frame":0}\n'), ("annotated.mp4", "video/mp4", b"0123456789")],
)
def test_an_export_is_downloaded_with_its_type_and_a_name(
    api: httpx.Client, job: str, name: str, kind: str, content: bytes
) -> None:
    link = api.get(f"/v1/jobs/{job}").json()["links"][name]
    response = api.get(link)
    assert (response.status_code, response.content) == (200, content)
    assert response.headers["content-type"] == kind
    assert response.headers["content-disposition"] == f'attachment; filename="{job}-{name}"'


def test_a_part_of_an_export_can_be_asked_for(api: httpx.Client, job: str) -> None:
    response = api.get(f"/v1/jobs/{job}/exports/annotated.mp4", headers={"Range": "bytes=2-4"})
    assert (response.status_code, response.content) == (206, b"234")
    assert response.headers["content-range"] == "bytes 2-4/10"


@pytest.mark.parametrize(("wanted", "size"), [("bytes=99-", "bytes */10"), ("bytes=x-y", None), ("lines=1-2", None)])
def test_a_part_that_is_not_there_is_a_problem(api: httpx.Client, job: str, wanted: str, size: str | None) -> None:
    response = api.get(f"/v1/jobs/{job}/exports/annotated.mp4", headers={"Range": wanted})
    assert (response.status_code, response.json()["type"]) == (416, "/problems/range_not_satisfiable")
    assert response.headers.get("content-range") == size


@pytest.mark.parametrize(
    "name",
    [
        "nothing.json",
        "private.json",
        "..%2F..%2Fvideos",
        "%2e%2e",
        ".hidden",
        "%2Fetc%2Fpasswd",
        "frames.ndjson%00",
        "frames.ndjson/",
        "a" * 200,
    ],
)
def test_nothing_but_a_listed_export_is_handed_out(api: httpx.Client, job: str, name: str) -> None:
    response = api.get(f"/v1/jobs/{job}/exports/{name}")
    assert response.status_code in (404, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_an_export_that_became_a_link_is_not_followed(
    api: httpx.Client, job: str, settings: Settings, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    export = settings.data_dir / "jobs" / "default" / job / "frames.ndjson"
    export.unlink()
    export.symlink_to(secret)
    assert api.get(f"/v1/jobs/{job}/exports/frames.ndjson").status_code == 404


def test_a_job_that_runs_has_no_exports_yet(api: httpx.Client) -> None:
    job = worker.submit(api)["id"]
    response = api.get(f"/v1/jobs/{job}/exports/frames.ndjson")
    assert response.status_code == 404
    assert "none yet, it is queued" in response.json()["detail"]
