"""/v1/models on a running service: sending a model, looking at it, taking it away."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from cvpipe.broker import Bell
from cvpipe.modelfiles import Wish, add_model, examine, process
from cvpipe.settings import Settings
from cvpipe.store import Store
from cvpipe.work import model as work_on_model
from cvpipe.work.bench import Bench
from tests.api import worker
from tests.modelfiles.networks import write, yolox

DETECT = {"name": "d", "stages": [{"type": "detect", "model": "net"}]}


class _Silent(Bell):
    """Rings for nobody."""

    def __init__(self) -> None:
        pass

    def ring(self, _rings: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def bench(settings: Settings, store: Store) -> Bench:
    """A worker of the test's own."""
    return Bench(settings, store, _Silent())


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_at(file: Path, wish: Wish, name: str, _limits: object) -> tuple[process.Found, bytes | None]:
        found, kept = examine.examine(file.read_bytes(), wish, name)
        return process.Found.model_validate(found.model_dump(mode="json")), kept if found.edited else None

    monkeypatch.setattr(process, "examine", looked_at)


def send(api: httpx.Client, body: bytes, **params: object) -> str:
    response = api.post("/v1/models", content=body, params=params)
    assert response.status_code == 202, response.text
    assert response.json()["state"] == "waiting"
    assert response.headers["Location"] == f"/v1/models/additions/{response.json()['id']}"
    return response.headers["Location"]


def test_a_model_is_sent_looked_at_by_a_worker_and_there(api: httpx.Client, bench: Bench) -> None:
    location = send(api, yolox(), filename="My Net.onnx", labels="cat,dog,bird", score=0.5)
    assert api.get(location).json()["state"] == "waiting"
    work_on_model(bench, f"model:default/{location.rpartition('/')[2]}")
    came = api.get(location).json()
    assert (came["state"], came["new"], came["error"]) == ("added", True, None)
    assert came["why"].startswith("one output of 84 rows")
    card = api.get("/v1/models/my-net").json()
    assert card == came["model"] == api.get("/v1/models/my-net@1").json()
    assert (card["family"], card["labels"], card["score_threshold"]) == ("yolox", ["cat", "dog", "bird"], 0.5)
    assert "my-net" in [model["name"] for model in api.get("/v1/models").json()["models"]]
    assert not list(bench.settings.data_dir.glob("additions/*/*/model.onnx"))


def test_a_hostile_model_is_refused_with_a_code(api: httpx.Client, bench: Bench, in_this_process: None) -> None:
    location = send(api, b"not a network", name="bad")
    work_on_model(bench, f"model:default/{location.rpartition('/')[2]}")
    came = api.get(location).json()
    assert (came["state"], came["model"], came["error"]["code"]) == ("refused", None, "model_unreadable")
    assert api.get("/v1/models/bad").status_code == 404
    work_on_model(bench, f"model:default/{location.rpartition('/')[2]}")  # a doubled message


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "name"),
        ({"name": "Big"}, "name"),
        ({"name": "n", "input_size": "big"}, "input_size"),
        ({"name": "n", "input_size": "0x64"}, "input_size"),
        ({"name": "n", "mean": "a"}, "mean"),
        ({"name": "n", "mean": "nan"}, "mean"),
        ({"name": "n", "options": "[1]"}, "options"),
        ({"name": "n", "scale": "0"}, "scale"),
        ({"name": "n", "familly": "yolox"}, "familly"),
        ({"filename": "...onnx"}, "name"),
    ],
)
def test_wrong_words_are_refused_where_they_are(api: httpx.Client, params: dict[str, str], field: str) -> None:
    problem = api.post("/v1/models", content=yolox(), params=params).json()
    assert (problem["status"], problem["field"]) == (422, field), problem


def test_an_empty_body_and_a_form_are_refused(api: httpx.Client, settings: Settings) -> None:
    assert api.post("/v1/models", params={"name": "n"}).json()["detail"].startswith("the body is empty")
    sent = api.post("/v1/models", params={"name": "n"}, files={"file": b"x"})
    assert sent.status_code == 415
    assert not list(settings.data_dir.glob("additions/*/*"))


def test_a_model_in_use_stays_until_the_job_is_over(
    api: httpx.Client, settings: Settings, tmp_path: Path, in_this_process: None
) -> None:
    file = write(tmp_path / "net.onnx", yolox())
    for labels in ("a,b,c", "d,e,f"):
        add_model(file, Wish.model_validate({"labels": labels}), settings.models_path, process.Limits())
    job = worker.submit(api, pipeline=DETECT)
    assert job["pipeline"]["stages"][0]["model"] == "net@2"  # the newest, for good
    add_model(file, Wish.model_validate({"labels": "g,h,i"}), settings.models_path, process.Limits())
    assert api.get(f"/v1/jobs/{job['id']}").json()["pipeline"]["stages"][0]["model"] == "net@2"
    assert api.delete("/v1/models/net@1").json() == {"removed": ["net@1"]}
    for ref in ("net@2", "net"):
        refused = api.delete(f"/v1/models/{ref}")
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "a job uses net@2; cancel it, or wait for its end",
        )
    api.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.delete("/v1/models/net").json() == {"removed": ["net@2", "net@3"]}
    assert api.delete("/v1/models/net").status_code == 404


def test_the_same_request_is_the_same_job_though_a_newer_model_came(
    api: httpx.Client, settings: Settings, tmp_path: Path, in_this_process: None
) -> None:
    file = write(tmp_path / "net.onnx", yolox())
    add_model(file, Wish.model_validate({"labels": "a,b,c"}), settings.models_path, process.Limits())
    request = {"video": worker.upload(api)["id"], "pipeline": DETECT}
    first = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "one"}).json()
    add_model(file, Wish.model_validate({"labels": "d,e,f"}), settings.models_path, process.Limits())
    again = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "one"})
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
