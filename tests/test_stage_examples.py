"""Each stage's example of docs/stages.md, as it stands there, on a real video.

What stages find is compared with values in `tests/stages`; here each example has to run, on the models that the page
says how to come by, and its stage has to leave what it is there for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import PipelineSpec, parse_pipeline
from cvpipe.pipeline.reference import example_of
from cvpipe.settings import Settings
from cvpipe.stages import JobStage, discover
from tests.people import write_cards
from tests.receivers import Asked, Said, receiving

A_WOMAN = ("one-by-one-person-detection.mp4", TimeRange(start=14, stop=14.3))  # stands at a desk
A_CAR = ("car-detection.mp4", TimeRange(start=17.2, stop=17.66))  # drives away, seen from above
# Without a trace of their own: they choose frames or make the picture that others see, or there is nothing of the kind.
SHAPES = ("channels", "contrast", "crop", "decimate", "deinterlace", "denoise", "range", "resize", "roi", "tiles",
          "undistort")  # fmt: skip
NOTHING_THERE = ("codes", "path_deviation", "read_text", "smooth", "template")
EXTERNAL = "external"


@pytest.fixture(scope="module")
def models(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cards(tmp_path_factory.mktemp("models"), assets)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def traces(name: str, records: list[dict[str, Any]]) -> int:
    """How often a stage is named in records: by its objects, and by values of frames and objects."""
    objects = [row for record in records for row in record["objects"]]
    valued = [*records, *objects]
    return sum(row["stage"] == name for row in objects) + sum(name in (row.get("values") or {}) for row in valued)


@pytest.mark.parametrize("kind", sorted({*discover()} - {EXTERNAL}))
def test_an_example_runs_on_real_video(kind: str, assets: Path, models: Path, tmp_path: Path) -> None:
    stage = discover()[kind]
    spec = example_of(stage)
    settings = Settings(data_dir=models, models_dir=models, device="cpu", threads=1)
    video, span = A_CAR if "cars" in stage.example else A_WOMAN
    job = run_local(
        assets / "videos" / video, spec, tmp_path, settings=settings, range=None if kind == "range" else span
    )
    assert job["state"] == "succeeded"
    records = lines(tmp_path / "frames.ndjson")
    assert len(records) == job["frames"]["ok"] >= 1
    for name in job["exports"]:
        assert (tmp_path / name).stat().st_size > 0 or name.endswith(".ndjson")
    if issubclass(stage, JobStage):
        assert len(job["exports"]) >= 2
        return
    if kind == "crops":
        assert lines(tmp_path / "crops.ndjson")
    elif kind == "pose":
        assert all(len(row["keypoints"]) == 3 for record in records for row in record["objects"])
    elif kind == "track":
        assert {row["track"] for record in records for row in record["objects"]} == {1}
    elif kind in ("rules", "dwell"):
        assert "events.ndjson" in job["exports"]
    elif kind not in (*SHAPES, *NOTHING_THERE):
        names = [str(options.name) for options in spec.stages if getattr(options, "type", "") == kind]
        assert min(traces(name, records) for name in names) >= 1


def test_the_example_of_external_asks_about_each_track(assets: Path, models: Path, tmp_path: Path) -> None:
    """As it stands but for its address, and with the secret that it names."""

    def answer(asked: Asked) -> Said:
        body = json.loads(asked.body)
        text, picture = body["messages"][0]["content"]
        # Seen from above it looks like a bus to this model.
        assert text["text"] in {f"Which make and colour is this {label}?" for label in ("car", "bus", "truck")}
        assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
        said = {"choices": [{"message": {"content": json.dumps({"make": "unknown", "colour": "white"})}}]}
        return Said(body=json.dumps(said).encode(), headers={"content-type": "application/json"})

    with receiving(answer) as receiver:
        spec = _asking(f"{receiver.url}/v1/chat/completions")
        secrets = tmp_path / "secrets.yaml"
        secrets.write_text(yaml.safe_dump({"models": {"server": receiver.url, "value": "Bearer of-the-test"}}))
        settings = Settings(
            data_dir=models, models_dir=models, device="cpu", threads=1, outside_loopback=True, outside_secrets=secrets
        )
        video, span = A_CAR
        run_local(assets / "videos" / video, spec, tmp_path / "out", settings=settings, range=span)
        asked = list(receiver.asked)
    calls = lines(tmp_path / "out" / "calls.ndjson")
    assert asked
    assert len(calls) == len(asked)
    assert {request.headers["authorization"] for request in asked} == {"Bearer of-the-test"}
    for call in calls:
        (item,) = call["items"]
        assert item["values"] == {"make": "unknown", "colour": "white"}


def _asking(url: str) -> PipelineSpec:
    written = example_of(discover()[EXTERNAL]).model_dump(mode="json")
    written["stages"][-1]["url"] = url
    return parse_pipeline(written)
