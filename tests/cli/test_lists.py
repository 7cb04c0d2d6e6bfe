"""`cvpipe stages`, `pipelines` and `models`: what exists on this machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvpipe.pipeline.listing import describe
from tests.cli.conftest import Cvpipe

MODEL = b"not really a network"
CARD: dict[str, Any] = {
    "name": "tiny",
    "version": "2",
    "family": "yolox",
    "file": "tiny.onnx",
    "sha256": hashlib.sha256(MODEL).hexdigest(),
    "input": {"width": 416, "height": 256},
    "labels": ["person", "car"],
    "licence": "Apache-2.0",
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    (folder / "tiny" / "2").mkdir(parents=True)
    (folder / "tiny" / "2" / "model.yaml").write_text(yaml.safe_dump(CARD))
    (folder / "tiny" / "2" / "tiny.onnx").write_bytes(MODEL)
    monkeypatch.setenv("CVPIPE_MODELS_DIR", str(folder))
    return folder


def write(folder: Path, name: str, stages: list[dict[str, Any]]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "description": "One line.\nAnother.", "stages": stages}))
    return path


def test_stages_are_listed_with_their_schemas(cvpipe: Cvpipe) -> None:
    listed = cvpipe("stages", "ls", "--json").json
    assert [stage["type"] for stage in listed] == [stage.type for stage in describe()]
    assert listed[0]["schema"]["properties"]["type"]["const"] == listed[0]["type"]
    lines = cvpipe("stages", "ls").out.splitlines()
    assert lines[0].split() == ["TYPE", "SCOPE", "DEVICE", "SUMMARY"]
    assert len(lines) == len(listed) + 1


def test_a_stage_is_shown_with_its_options(cvpipe: Cvpipe) -> None:
    shown = cvpipe("stages", "show", "decimate").out
    assert "fps     number                -        Frames to look at per second of video, chosen by time." in shown
    assert "\ntype " not in shown
    assert cvpipe("stages", "show", "decimate", "--json").json["scope"] == "frame"


def test_an_unknown_stage_is_met_with_the_nearest(cvpipe: Cvpipe) -> None:
    done = cvpipe("stages", "show", "decimat")
    assert (done.code, done.err) == (2, "error: there is no stage 'decimat'; did you mean 'decimate'?\n")


def test_pipelines_are_the_built_in_ones_and_those_of_the_folder(
    cvpipe: Cvpipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_in = [spec["name"] for spec in cvpipe("pipelines", "ls", "--json").json]
    assert "edges" in built_in
    write(tmp_path, "mine", [{"type": "edges"}])
    monkeypatch.setenv("CVPIPE_PIPELINES_DIR", str(tmp_path))
    assert [spec["name"] for spec in cvpipe("pipelines", "ls", "--json").json] == sorted([*built_in, "mine"])
    assert any(
        line.split() == ["mine", "1", "edges", "One", "line."] for line in cvpipe("pipelines", "ls").out.splitlines()
    )


def test_a_pipeline_is_shown_as_something_that_can_be_written_down(cvpipe: Cvpipe, tmp_path: Path) -> None:
    shown = cvpipe("pipelines", "show", "edges")
    document = yaml.safe_load(shown.out)
    assert document == cvpipe("pipelines", "show", "edges", "--json").json
    copy = tmp_path / "copy.yaml"
    copy.write_text(shown.out)
    assert cvpipe("pipelines", "check", copy).code == 0


def test_a_right_pipeline_is_called_right(cvpipe: Cvpipe, tmp_path: Path, models: Path) -> None:
    file = write(tmp_path, "cars", [{"type": "detect", "model": "tiny"}, {"type": "track"}])
    done = cvpipe("pipelines", "check", file)
    assert done.code == 0
    assert done.out.splitlines() == [
        f"{file} is right: cars, detect > track",
        "  frames on queue gpu: detect",
        "  sequence on queue sequence: track",
        "  model tiny@2",
    ]
    assert cvpipe("pipelines", "check", file, "--json").json["models"] == ["tiny@2"]
    assert cvpipe("pipelines", "validate", file).out == done.out


def test_a_wrong_option_is_named_by_its_path(cvpipe: Cvpipe, tmp_path: Path) -> None:
    done = cvpipe("pipelines", "check", write(tmp_path, "bad", [{"type": "decimate", "fpz": 2}]), "--json")
    assert done.code == 2
    assert done.problem["type"] == "invalid_pipeline"
    assert done.problem["field"].startswith("stages.0.")


def test_a_missing_model_makes_a_pipeline_wrong_here(cvpipe: Cvpipe, tmp_path: Path, models: Path) -> None:
    file = write(tmp_path, "cars", [{"type": "detect", "model": "tinny"}])
    done = cvpipe("pipelines", "check", file)
    assert done.code == 2
    assert "did you mean 'tiny'?" in done.err
    assert cvpipe("pipelines", "check", file, "--no-models").code == 0


def test_models_are_listed_with_what_is_missing(cvpipe: Cvpipe, models: Path) -> None:
    assert cvpipe("models", "ls").out.splitlines()[2].split() == [
        "tiny@2", "detection", "yolox", "416x256", "2", "tiny.onnx", "Apache-2.0",
    ]  # fmt: skip
    (models / "tiny" / "2" / "tiny.onnx").unlink()
    assert "tiny.onnx (missing)" in cvpipe("models", "ls").out
    assert [card["present"] for card in cvpipe("models", "ls", "--json").json] == [True, False]


def test_with_no_models_there_is_the_one_that_comes_with_cvpipe(cvpipe: Cvpipe) -> None:
    done = cvpipe("models", "ls", "--json")
    assert (done.code, [card["name"] for card in done.json]) == (0, ["drawn-street"])


def test_a_model_is_shown_only_if_its_file_is_the_one_described(cvpipe: Cvpipe, models: Path) -> None:
    shown = yaml.safe_load(cvpipe("models", "show", "tiny").out)
    assert shown["sha256"] == CARD["sha256"]
    assert json.loads(cvpipe("models", "show", "tiny@2", "--json").out) == shown
    (models / "tiny" / "2" / "tiny.onnx").write_bytes(b"another")
    done = cvpipe("models", "show", "tiny", "--json")
    assert (done.code, done.problem["type"]) == (2, "invalid_model")


def test_a_pipeline_is_checked_against_the_labels_of_its_model(cvpipe: Cvpipe, models: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "wrong", [{"type": "detect", "model": "tiny", "classes": ["car", "persom"]}])
    done = cvpipe("pipelines", "check", file, "--json")
    assert (done.code, done.problem["field"]) == (2, "stages.0.classes")
    assert "stage 1 (detect): model tiny@2 knows no class 'persom'; did you mean 'person'?" in done.problem["detail"]
    right = write(tmp_path, "right", [{"type": "detect", "model": "tiny", "classes": ["car"]}])
    assert cvpipe("pipelines", "check", right, "--json").json["models"] == ["tiny@2"]


ASK: dict[str, Any] = {
    "type": "external", "name": "ask", "url": "https://models.example.com/ask", "per": "job",
    "answer": {"type": "object"},
}  # fmt: skip
ZONE = {
    "type": "polygon_zone", "units": "metres",
    "zones": [{"name": "box", "polygon": [[0, 0], [1, 0], [1, 1]]}],
}  # fmt: skip


OPENED = "the operator opens these with CVPIPE_OUTSIDE_LOOPBACK=true"


def test_what_only_a_service_knows_of_a_pipeline_is_noted(cvpipe: Cvpipe, tmp_path: Path) -> None:
    stages = [
        {"type": "edges"}, {**ZONE, "name": "a", "camera": "gate"}, {**ZONE, "name": "b"},
        {**ASK, "url": "http://127.0.0.1:9000/", "secret": "models"},
    ]  # fmt: skip
    file = write(tmp_path, "asks", stages)
    done = cvpipe("pipelines", "check", file)
    assert [line for line in done.out.splitlines() if line.startswith("  note: ")] == [
        "  note: stage 2 (polygon_zone 'a'): whether there is a camera 'gate' the service knows",
        "  note: stage 3 (polygon_zone 'b') takes the camera that comes with the job (--camera)",
        "  note: whether there is a secret 'models' the service knows (CVPIPE_OUTSIDE_SECRETS)",
        f"  note: stage 4 (external 'ask'): 127.0.0.1 is a loopback address; {OPENED}",
    ]
    assert len(cvpipe("pipelines", "check", file, "--json").json["notes"]) == 4


@pytest.mark.parametrize(
    ("stages", "field", "words"),
    [
        ([{**ZONE, "camera": "gate.yaml"}], "stages.0.camera", "stage 1 (polygon_zone): gate.yaml cannot be read"),
        ([{**ASK, "url": "http://169.254.169.254/"}], "stages.0.url", "stage 1 (external 'ask'): 169.254.169.254 is"),
        ([{**ASK, "secret": "modle"}], "stages.0.secret", "stage 1 (external 'ask'): there is no secret 'modle'"),
        ([{**ASK, "secret": "other"}], "stages.0.secret", "the secret 'other' is for another server"),
    ],
)
def test_what_is_wrong_wherever_a_pipeline_runs_is_told(
    cvpipe: Cvpipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: list[Any], field: str, words: str
) -> None:
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(yaml.safe_dump({"other": {"server": "https://other.example.com", "value": "x"}}))
    monkeypatch.setenv("CVPIPE_OUTSIDE_SECRETS", str(secrets))
    done = cvpipe("pipelines", "check", write(tmp_path, "wrong", stages), "--json")
    assert (done.code, done.problem["field"]) == (2, field)
    assert words in done.problem["detail"]
