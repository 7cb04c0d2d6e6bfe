"""The built-in pipelines that follow things, on the drawn street, whose traffic is known, and on real people."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline, parse_pipeline
from cvpipe.png import decode_png
from cvpipe.settings import Settings
from examples.demo.scene import FPS, make_clip
from tests.modelcards import write_yolox_card

PEOPLE = "one-by-one-person-detection.mp4"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def models(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_yolox_card(folder, assets)
    return folder


def run_on_people(name: str, assets: Path, models: Path, out: Path, **more: Any) -> dict[str, Any]:
    """A woman stands at a desk from 12 s on, and leaves on the right at 19 s."""
    settings = Settings(models_dir=models, device="cpu", threads=2)
    spec = load_pipeline(name, settings=settings)
    return run_local(assets / "videos" / PEOPLE, spec, out, settings=settings, **more)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `traffic-count` makes of five and a half seconds of the drawn street, with the model that knows its cars."""
    folder = tmp_path_factory.mktemp("street")
    truth = make_clip(folder / "street.mp4", frames=round(5.5 * FPS))
    settings = Settings(data_dir=folder, device="cpu", threads=2)
    written = load_pipeline("traffic-count", settings=settings).model_dump(mode="json")
    for stage in written["stages"]:
        if stage["type"] == "detect":
            stage.update(model="drawn-street", classes=["car"])
    run_local(folder / "street.mp4", parse_pipeline(written), folder / "out", settings=settings)
    middle = truth.width / 2
    known = []
    for name in {car.name for frame in truth.frames for car in frame.cars}:
        way = [(f.time, (c.box[0] + c.box[2]) / 2) for f in truth.frames for c in f.cars if c.name == name]
        known += [
            (after[0], "in" if after[1] > middle else "out")
            for before, after in pairwise(way)
            if (before[1] > middle) != (after[1] > middle)
        ]
    (folder / "known.json").write_text(json.dumps(sorted(known)))
    return folder


def test_traffic_is_counted_as_it_was_drawn(street: Path) -> None:
    known = json.loads((street / "known.json").read_text())
    assert [direction for _, direction in known] == ["in", "out", "in", "out"]
    crossed = [row for row in lines(street / "out" / "events.ndjson") if row["values"].get("line") == "across"]
    assert [row["values"]["direction"] for row in crossed] == ["in", "out", "in", "out"]
    assert [row["start"] for row in crossed] == pytest.approx([time for time, _ in known], abs=0.35)
    assert lines(street / "out" / "frames.ndjson")[-1]["values"]["traffic"]["across"] == {
        "in": 2, "out": 2, "by_class": {"car": {"in": 2, "out": 2}},
    }  # fmt: skip


def test_cars_head_where_they_were_drawn_to_drive(street: Path) -> None:
    towards = {"left": 0, "right": 0}
    for record in lines(street / "out" / "frames.ndjson"):
        for row in record["objects"]:
            told = (row.get("values") or {}).get("direction", {}).get("towards")
            if row["track"] is not None and told in towards:
                towards[told] += 1
                assert (told == "right") == (row["box"][3] > 420), record["time"]  # the near lane drives to the right
    assert min(towards.values()) > 20


def test_the_heat_is_on_the_road(street: Path) -> None:
    picture = decode_png((street / "out" / "heat_map.png").read_bytes(), max_pixels=10**6).astype(int)
    colourful = picture.max(axis=2) - picture.min(axis=2)
    rows = np.flatnonzero((colourful > 60).any(axis=1)) / len(picture)
    assert rows.min() > 0.65
    assert rows.max() > 0.9


def test_the_flow_of_people_is_told(assets: Path, models: Path, tmp_path: Path) -> None:
    job = run_on_people("people-flow", assets, models, tmp_path, range=TimeRange(start=12, stop=21))
    assert job["exports"] == ["frames.ndjson", "tracks.ndjson", "events.ndjson", "heat_map.png"]
    told = [(row["kind"], row["tracks"], row["start"]) for row in lines(tmp_path / "events.ndjson")]
    assert told == [
        ("zone_entered", [1], 12.0),
        ("line_crossed", [1], 18.8),
        ("zone_left", [1], 18.8),
        ("zone_dwell", [1], 12.0),
        ("dwell", [1], 12.0),
    ]


def test_things_are_found_followed_and_timed(assets: Path, models: Path, tmp_path: Path) -> None:
    run_on_people("detect-and-track", assets, models, tmp_path, range=TimeRange(start=14, stop=21))
    (stay,) = lines(tmp_path / "events.ndjson")
    assert (stay["kind"], stay["objects"][0]["label"], stay["start"], stay["end"]) == ("dwell", "person", 14.0, 19.4)
    tracks = [row["track"] for record in lines(tmp_path / "frames.ndjson") for row in record["objects"]]
    assert tracks.count(1) > 45


def test_somebody_who_stands_still_and_then_leaves_is_told_of(assets: Path, models: Path, tmp_path: Path) -> None:
    stages = [
        {"type": "decimate", "fps": 2.5},
        {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"], "score": 0.4},
        {"type": "track", "of": "people"},
        {"type": "stationary", "of": "people", "seconds": 3},
        {"type": "path_deviation", "of": "people", "path": [[450, 432], [450, 300]], "distance": 60, "seconds": 0},
        {"type": "direction", "of": "people", "window_seconds": 0.8, "expected": 270, "seconds": 0},
        {"type": "rules", "of": "people", "rules": [{"name": "idle", "when": "stationary.stationary"}]},
    ]
    run_local(
        assets / "videos" / PEOPLE,
        parse_pipeline({"name": "still", "stages": stages}),
        tmp_path,
        settings=Settings(models_dir=models, device="cpu", threads=2),
        range=TimeRange(start=12, stop=21),
    )
    told = {row["kind"]: row for row in lines(tmp_path / "events.ndjson")}
    assert {kind: (row["start"], row["end"], row["tracks"]) for kind, row in told.items()} == {
        "rule_met": (15.2, 18.4, [1]),
        "path_deviation": (18.8, 18.8, [1]),
        "wrong_way": (18.0, 18.8, [1]),
        "stationary": (12.0, 18.4, [1]),
    }
    assert 80 < told["wrong_way"]["values"]["angle"] < 100  # to the right
