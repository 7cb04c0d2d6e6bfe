"""The pipeline `sports-top-view` on a drawn match, against what was drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.camera import parse_camera
from cvpipe.engine import run_local
from cvpipe.pipeline import PipelineSpec, load_pipeline, parse_pipeline, with_cameras
from cvpipe.png import decode_png
from cvpipe.settings import Settings
from tests import matches


def pipeline(settings: Settings, **camera: Any) -> PipelineSpec:
    """The built-in one; but drawn players are found by their colour: nothing else is less green than chalk."""
    document = load_pipeline("sports-top-view", settings=settings).model_dump(mode="json")
    assert document["stages"][0]["type"] == "detect"
    document["stages"][:1] = [
        {"type": "channels", "to": "lab", "only": "a"},
        {"type": "contours", "name": "people", "method": "fixed", "level": 113, "close": 7, "min_area": 250},
    ]
    return with_cameras(
        parse_pipeline(document),
        lambda _name: pytest.fail("none is named"),
        default=parse_camera(matches.camera(**camera)),
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matches.make_match(tmp_path_factory.mktemp("match") / "match.mp4")


@pytest.fixture(scope="module")
def out(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    settings = Settings(data_dir=folder)
    run_local(clip, pipeline(settings), folder, settings=settings, chunk_seconds=1)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.ndjson").read_text().splitlines()]


def test_every_player_is_where_he_was_drawn_as_fast_as_he_ran(out: Path) -> None:
    errors, inside = [], []
    last: dict[int, tuple[dict[str, Any], int]] = {}
    for record in records(out):
        drawn = np.array([player.at(record["time"]) for player in matches.PLAYERS])
        for found in record["objects"]:
            value = found["values"]["to_world"]
            who = int(np.hypot(*(drawn - value["position"]).T).argmin())
            away = np.array(value["position"]) - drawn[who]
            errors.append(float(np.hypot(*away)))
            inside.append(np.abs(away) < 3 * np.array(value["deviation"]))
            if found["track"] is not None:
                last[found["track"]] = (value, who)
    assert len(errors) >= 0.95 * len(matches.PLAYERS) * matches.FPS * matches.SECONDS
    assert np.median(errors) < 0.25  # metres; a pixel of the picture is 3 to 10 cm of ground
    assert np.mean(inside) > 0.95
    assert sorted(who for _, who in last.values()) == [0, 1, 2, 3, 4]
    for value, who in last.values():
        player = matches.PLAYERS[who]
        assert value["speed"] == pytest.approx(player.speed, abs=0.35)
        gone = player.speed * (matches.SECONDS - 1 / matches.FPS)
        assert value["distance"] == pytest.approx(gone, abs=0.15 * gone + 0.5)


def test_the_ways_are_drawn_on_the_pitch(out: Path) -> None:
    document = ET.fromstring((out / "top-view.svg").read_text())
    texts = {text.text for text in document.iter("{http://www.w3.org/2000/svg}text")}
    assert texts == {"1", "2", "3", "4", "5"}
    image = decode_png((out / "top-view.png").read_bytes(), max_pixels=2_000_000)
    assert image.shape == (816, 1200, 3)
    job = json.loads((out / "job.json").read_text())
    assert job["exports"] == ["frames.ndjson", "tracks.ndjson", "top-view.svg", "top-view.png"]
    # The halfway line runs down the middle, and the player who stands is where he was drawn.
    assert tuple(image[100, 600]) == (235, 235, 235)
    scale = 1200 / (105 * 1.1)
    x, y = 600 - 7 * scale, 408 + 5 * scale
    colours = {tuple(pixel) for pixel in image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].reshape(-1, 3)}
    assert any(max(colour) > 240 and min(colour) < 100 for colour in colours)  # a bright dot, not turf or chalk


def test_the_film_shows_the_players_where_they_were_drawn_when(clip: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    spec = pipeline(settings).model_dump(mode="json")
    spec["stages"][-1] |= {"video": True, "trail_seconds": 0.2}
    job = run_local(clip, parse_pipeline(spec), tmp_path, settings=settings, chunk_seconds=1)
    assert job["exports"][-1] == "top-view.mp4"
    with av.open(str(clip)) as container:
        source = [(frame.time, frame.width, frame.height) for frame in container.decode(video=0)]
    with av.open(str(tmp_path / "top-view.mp4")) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24").astype(int)) for frame in container.decode(video=0)]
    assert [time for time, _ in frames] == pytest.approx([time - source[0][0] for time, _, _ in source], abs=1e-3)
    _, width, height = source[0]
    scale = min(width / (105 * 1.1), height / (68 + 105 * 0.1))
    time, image = frames[-10]
    assert image.shape == (height, width, 3)
    for player in matches.PLAYERS:
        x, y = player.at(time)
        column, row = round(width / 2 + scale * x), round(height / 2 - scale * y)
        about = image[row - 6 : row + 7, column - 6 : column + 7].reshape(-1, 3)
        assert (about.max(axis=1) - about.min(axis=1)).max() > 110, player  # a bright dot; turf is 60


def test_one_chunk_gives_the_same_records_as_many(clip: Path, out: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    run_local(clip, pipeline(settings), tmp_path, settings=settings, chunk_seconds=60)
    assert (tmp_path / "frames.ndjson").read_bytes() == (out / "frames.ndjson").read_bytes()
    assert (tmp_path / "top-view.png").read_bytes() == (out / "top-view.png").read_bytes()
