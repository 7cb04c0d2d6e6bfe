"""Tracks and what their crops say, on video of which the truth is known: the demo's street, and people in a room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.embeddings import from_value
from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from examples.demo.scene import make_clip
from examples.demo.truth import Truth
from tests.people import write_cards

pytestmark = pytest.mark.slow

PLATES = ["BV 3975", "KA 4729", "MX 6284", "RT 8351"]
STREET = [
    {"type": "decimate", "fps": 4},
    {"type": "detect", "name": "cars", "model": "drawn-street", "classes": ["car"]},
    {"type": "track", "of": "cars", "high": 0.4, "begin": 0.4, "low": 0.3},
    {"type": "crops", "name": "best", "of": "cars", "best": 3},
    {"type": "read_text", "name": "plate", "of": "best"},
]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("street")
    return folder / "street.mp4", make_clip(folder / "street.mp4")


def test_each_car_of_the_street_has_one_plate_with_its_evidence(street: tuple[Path, Truth], tmp_path: Path) -> None:
    video, truth = street
    settings = Settings(data_dir=tmp_path, device="cpu", threads=2)
    spec = parse_pipeline({"name": "plates", "stages": STREET})
    for name, seconds in (("one", 60), ("many", 2)):
        run_local(
            video, spec, tmp_path / name, settings=settings, chunk_seconds=seconds, range=TimeRange(start=1, stop=5)
        )
    tracks = lines(tmp_path / "one" / "tracks.ndjson")
    assert sorted(track["values"]["plate"]["text"] for track in tracks) == PLATES
    for track in tracks:
        plate = track["values"]["plate"]
        assert (track["label"], track["stage"], plate["crops"]) == ("car", "cars", 3)
        assert plate["confidence"] > 0.8
        assert 1 <= plate["votes"] <= 3
        assert set(plate["evidence"]) <= {crop["file"] for crop in track["crops"]}
        # The car that the crop shows is the one with this plate.
        for crop in track["crops"]:
            (car,) = [car for car in truth.frames[crop["frame"]].cars if car.plate == plate["text"]]
            assert overlap(car.box, crop["box"]) > 0.5
            picture = cv2.imread(str(tmp_path / "one" / "crops" / crop["file"]))
            x1, y1, x2, y2 = crop["box"]
            assert picture.shape[:2] == (round(y2) - round(y1), round(x2) - round(x1))
    crops = lines(tmp_path / "one" / "crops.ndjson")
    read = {crop["file"]: crop["object"]["text"] for crop in crops}
    assert {read[file] for track in tracks for file in track["values"]["plate"]["evidence"]} == set(PLATES)
    for name in ("frames.ndjson", "crops.ndjson", "tracks.ndjson"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "many" / name).read_text()


def overlap(one: Any, other: Any) -> float:
    """Intersection over union."""
    (a1, b1, a2, b2), (c1, d1, c2, d2) = one, other
    inside = max(0.0, min(a2, c2) - max(a1, c1)) * max(0.0, min(b2, d2) - max(b1, d1))
    return inside / ((a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - inside)


def test_the_vector_of_a_person_is_like_all_crops_of_the_same_and_unlike_those_of_others(
    assets: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    write_cards(models, assets)
    stages = [
        {"type": "decimate", "every": 10},
        {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"]},
        {"type": "track", "of": "people"},
        {"type": "crops", "name": "best", "of": "people", "best": 4, "apart_seconds": 1, "tries": 1},
        {"type": "embed", "name": "look", "of": "best", "model": "person-reid"},
        {"type": "parse", "name": "worn", "of": "best", "model": "skin-clothes-hair"},
    ]
    run_local(
        assets / "videos" / "one-by-one-person-detection.mp4",
        parse_pipeline({"name": "looks", "stages": stages}),
        tmp_path / "out",
        settings=Settings(data_dir=tmp_path, models_dir=models, device="cpu", threads=2),
        range=TimeRange(start=25, stop=65),
    )
    tracks = [track for track in lines(tmp_path / "out" / "tracks.ndjson") if len(track["crops"]) >= 3]
    assert len(tracks) >= 2
    crops = {crop["file"]: crop["object"] for crop in lines(tmp_path / "out" / "crops.ndjson")}
    means = [vector(track["values"]["look"]) for track in tracks]
    for track, mean in zip(tracks, means, strict=True):
        mine = [float(mean @ vector(crops[crop["file"]]["values"]["look"])) for crop in track["crops"]]
        assert track["values"]["look"]["confidence"] == pytest.approx(np.mean(mine), abs=0.03)
        assert "clothes" in [part["label"] for part in track["values"]["worn"]["parts"]]
    others = [float(one @ other) for n, one in enumerate(means) for other in means[n + 1 :]]
    assert max(others) < min(track["values"]["look"]["confidence"] for track in tracks) - 0.05


def vector(value: Any) -> np.ndarray:
    found = from_value(value)
    assert found is not None
    return found
