"""Stages with networks in one pipeline, from the video to its records; and the pipelines that the documents show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml

from cvpipe.embeddings import from_value
from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.rle import Mask
from cvpipe.settings import Settings
from tests.people import write_cards
from tests.picturenetworks import write_small_models

STAGES = [
    {"type": "decimate", "every": 10},
    {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"]},
    {"type": "pose", "of": "people", "model": "points"},
    {"type": "parse", "of": "people", "model": "parts", "threshold": 0.3},
    {"type": "embed", "of": "people", "model": "person-reid"},
    {"type": "classify", "of": "people", "model": "names"},
    {"type": "depth", "of": "people", "model": "far"},
    {"type": "segment", "model": "classes"},
    {"type": "track", "of": "people"},
]


@pytest.fixture(scope="module")
def models(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_small_models(folder)
    return write_cards(folder, assets)


def run(assets: Path, models: Path, out: Path, **options: Any) -> list[dict[str, Any]]:
    run_local(
        assets / "videos" / "one-by-one-person-detection.mp4",
        parse_pipeline({"name": "people", "stages": STAGES}),
        out,
        settings=Settings(models_dir=models, device="cpu", threads=2),
        range=TimeRange(start=30, stop=32),
        **options,
    )
    return [json.loads(line) for line in (out / "frames.ndjson").read_text().splitlines()]


def test_each_object_has_all_that_was_found_out_whatever_the_chunks(assets: Path, models: Path, tmp_path: Path) -> None:
    records = run(assets, models, tmp_path / "one", annotate=True)
    assert [record["frame"] for record in records] == [300, 310]
    for record in records:
        (man,) = record["objects"]
        assert man["track"] == 1
        assert len(man["keypoints"]) == 3
        assert sorted(man["values"]) == ["classify", "depth", "embed", "parse"]
        parts = {row["label"]: row for row in man["values"]["parse"]["parts"]}
        assert sorted(parts) == ["blue", "green", "red"]  # what is brighter than 0.3 around him: the wall, the floor
        assert Mask.from_dict(parts["red"]["mask"]).pixels().shape == (432, 768)
        assert sum(row["area"] for row in record["values"]["segment"]["classes"]) == pytest.approx(1, abs=1e-4)
        low, high = record["values"]["depth"]["min"], record["values"]["depth"]["max"]
        assert low <= man["values"]["depth"]["median"] <= high
    vectors = [from_value(record["objects"][0]["values"]["embed"]) for record in records]
    assert min(float(vectors[0] @ vector) for vector in vectors) > 0.98  # type: ignore[operator]
    assert run(assets, models, tmp_path / "many", chunk_seconds=1) == records

    with av.open(str(tmp_path / "one" / "annotated.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24").astype(int)
    wall = picture[40:100, 250:350].mean(axis=(0, 1))  # it is white, and the map of classes tints it
    assert np.ptp(wall) > 40


@pytest.mark.parametrize("page", ["docs/pipelines.md", "README.md"])
def test_the_pipelines_that_the_documents_show_are_valid(root: Path, page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (root / page).read_text(encoding="utf-8"), re.DOTALL)
    found = [data for data in map(yaml.safe_load, blocks) if isinstance(data, dict) and "stages" in data]
    for data in found:
        assert parse_pipeline({"name": "shown"} | data).stages
    assert len(found) >= (10 if page == "docs/pipelines.md" else 0)
