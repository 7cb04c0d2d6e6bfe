"""/v1/stages, /v1/pipelines and /v1/models on a running service."""

import hashlib

import httpx
import jsonschema
import pytest
import yaml

from cvpipe import stages
from cvpipe.settings import Settings
from tests.api import worker
from tests.api.conftest import Service


def write_card(settings: Settings, **changes: object) -> None:
    card = {
        "name": "tiny",
        "family": "yolox",
        "file": "tiny.onnx",
        "sha256": hashlib.sha256(b"network").hexdigest(),
        "input": {"width": 64, "height": 64},
        "labels": ["cat", "dog"],
    } | changes
    folder = settings.models_path / str(card["name"])
    folder.mkdir(parents=True)
    (folder / "tiny.onnx").write_bytes(b"network")
    (folder / "model.yaml").write_text(yaml.safe_dump(card))


def test_every_stage_is_listed_with_the_schema_of_its_options(api: httpx.Client) -> None:
    listed = {entry["type"]: entry for entry in api.get("/v1/stages").json()["stages"]}
    assert list(listed) == sorted(stages.discover())
    decimate = listed["decimate"]
    assert (decimate["scope"], decimate["device"]) == ("frame", "cpu")
    assert decimate["summary"].startswith("Look at fewer frames: so many per second")
    jsonschema.validate({"type": "decimate", "fps": 5}, decimate["schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "decimate", "fps": 0}, decimate["schema"])


def test_built_in_pipelines_are_listed_with_all_their_options(api: httpx.Client) -> None:
    listed = {entry["name"]: entry for entry in api.get("/v1/pipelines").json()["pipelines"]}
    assert {"edges", "people"} <= set(listed)
    stage = listed["edges"]["stages"][-1]
    assert stage["type"] == "edges"
    assert set(stage) > {"type", "name", "queue"}


def test_pipelines_of_the_operator_are_listed_without_the_wrong_ones_and_can_be_named(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "slow.yaml").write_text("name: slow\nstages: [{type: decimate, fps: 1}]\n")
    (folder / "no-stage.yaml").write_text("name: no-stage\nstages: [{type: decimat}]\n")
    (folder / "no-yaml.yaml").write_text("{")
    (folder / "no-text.yaml").write_bytes(b"\xff\xfe\xff")
    (folder / "folder.yaml").mkdir()
    service = Service(settings.model_copy(update={"pipelines_dir": folder}))
    service.start()
    try:
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as api:
            names = {entry["name"] for entry in api.get("/v1/pipelines").json()["pipelines"]}
            assert "slow" in names
            assert not names & {"no-stage", "no-yaml", "no-text", "folder"}
            assert worker.submit(api, pipeline="slow")["pipeline"]["stages"][0]["fps"] == 1
    finally:
        service.stop()


def test_models_are_listed_by_their_cards(api: httpx.Client, settings: Settings) -> None:
    (shipped,) = api.get("/v1/models").json()["models"]
    assert shipped["name"] == "drawn-street"
    write_card(settings)
    write_card(settings, name="wrong", sha256="none")
    _, card = api.get("/v1/models").json()["models"]
    assert (card["name"], card["version"], card["family"], card["labels"]) == ("tiny", "1", "yolox", ["cat", "dog"])


def test_a_job_with_a_model_that_is_not_there_is_refused_with_the_stage(api: httpx.Client, settings: Settings) -> None:
    write_card(settings)
    video = worker.upload(api)["id"]
    stages_ = [{"type": "decimate", "fps": 1}, {"type": "detect", "model": "tinny"}]
    response = api.post("/v1/jobs", json={"video": video, "pipeline": {"name": "p", "stages": stages_}})
    assert (response.status_code, response.json()["field"]) == (404, "pipeline.stages.1")
    assert "did you mean 'tiny'?" in response.json()["detail"]
    stages_[1]["model"] = "tiny"
    assert api.post("/v1/jobs", json={"video": video, "pipeline": {"name": "p", "stages": stages_}}).status_code == 202
