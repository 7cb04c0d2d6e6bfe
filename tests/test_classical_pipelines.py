"""The built-in pipelines that need no network, on real and drawn video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings
from tests.video.clips import make_clip, x264

SIZE = (320, 180)


def run(name: str, video: Path, out: Path, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    settings = Settings(data_dir=out, device="cpu", threads=2)
    job = run_local(video, load_pipeline(name, settings=settings), out, settings=settings, chunk_seconds=2, **options)
    return job, [json.loads(line) for line in (out / "frames.ndjson").read_text().splitlines()]


def texture(seed: int, colour: tuple[int, int, int]) -> np.ndarray:
    """RGB, sharp and of one colour."""
    width, height = SIZE
    noise = np.random.default_rng(seed).integers(0, 2, (height // 4, width // 4)).astype(np.uint8)
    pattern = cv2.resize(noise, SIZE, interpolation=cv2.INTER_NEAREST)[..., None]
    return (np.array(colour) * (0.4 + 0.6 * pattern)).astype(np.uint8)


def test_motion_only_finds_a_car_and_follows_it(assets: Path, tmp_path: Path) -> None:
    video = assets / "videos" / "car-detection.mp4"
    job, records = run("motion-only", video, tmp_path, range=TimeRange(stop=7))
    assert job["exports"] == ["frames.ndjson", "tracks.ndjson", "motion-000000.png"]
    before = [r for r in records if r["time"] < 4]
    assert [r["values"]["motion"]["learning"] for r in before] == [True] * 25 + [False] * (len(before) - 25)
    assert not any(r["objects"] for r in before)
    behind = [max(r["objects"], key=lambda o: o["values"]["motion"]["area"]) for r in records if 4.8 < r["time"] < 6]
    assert len(behind) == 11
    assert len({car["track"] for car in behind}) == 1
    # It comes from below and drives upwards.
    assert behind[0]["box"][1] == pytest.approx(300, abs=30)
    assert behind[-1]["box"][1] < 150
    background = cv2.imread(str(tmp_path / "motion-000000.png"))
    assert background.shape == (180, 320, 3)


def bars() -> np.ndarray:
    rgb = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]
    picture = np.zeros((*SIZE[::-1], 3), np.uint8)
    edges = np.linspace(0, SIZE[0], 8).round().astype(int)
    for n, colour in enumerate(rgb):
        picture[:, edges[n] : edges[n + 1]] = np.array(colour) * 191
    return picture


def spoilt(number: int, width: int, height: int) -> np.ndarray:
    """Six seconds: sharp and moving; out of focus; black; colour bars; standing still."""
    moving = np.roll(texture(1, (200, 190, 170)), 4 * number, axis=1)
    if number < 30:
        return moving
    if number < 60:
        return cv2.GaussianBlur(moving, (0, 0), 8)
    if number < 90:
        return np.full((height, width, 3), 4, np.uint8)
    return bars() if number < 110 else texture(2, (200, 190, 170))


def test_quality_check_says_what_is_wrong_when(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=150, size=SIZE, draw=spoilt, options=x264(crf="12"))
    job, records = run("quality-check", clip, tmp_path / "out")
    wrong = {
        name: [r["frame"] for r in records if r["values"]["quality"][name]]
        for name in ("blurred", "black", "colour_bars")
    }
    looked_at = range(0, 150, 5)
    assert wrong == {
        "blurred": [n for n in looked_at if 30 <= n < 60],
        "black": [n for n in looked_at if 60 <= n < 90],
        "colour_bars": [n for n in looked_at if 90 <= n < 110],
    }
    assert [r["frame"] for r in records if r["values"]["scenes"]["cut"]] == [60, 90, 110]
    assert not any(r["values"]["frozen"]["frozen"] for r in records)  # ten frames alike: none is that long, yet
    assert job["summary"]["quality"] | {"too_dark": 0, "too_dark_fraction": 0} == {
        "frames": 30, "blurred": 6, "blurred_fraction": 0.2, "black": 6, "black_fraction": 0.2,
        "colour_bars": 4, "colour_bars_fraction": 0.1333, "too_bright": 0, "too_bright_fraction": 0.0,
        "too_dark": 0, "too_dark_fraction": 0,
    }  # fmt: skip


def shots(number: int, width: int, height: int) -> np.ndarray:
    """Red for 40 frames, green for 40, blue for 20, each moving."""
    part = min(number // 40, 2)
    colour = ((220, 30, 30), (30, 200, 40), (40, 50, 230))[part]
    return np.roll(texture(part, colour), number, axis=1)


def test_shots_and_keyframes_keeps_the_first_picture_of_each_shot(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=100, size=SIZE, draw=shots, options=x264(crf="12"))
    job, records = run("shots-and-keyframes", clip, tmp_path / "out")
    names = ["keyframes-000000.png", "keyframes-000040.png", "keyframes-000080.png"]
    assert job["exports"] == ["frames.ndjson", *names]
    kept = [r for r in records if "keyframes" in r["values"]]
    assert [(r["frame"], r["values"]["keyframes"]["file"]) for r in kept] == list(zip((0, 40, 80), names, strict=True))
    assert [r["frame"] for r in records if "dominant" in r["values"].get("colours", {})] == [0, 40, 80]
    for record, channel in zip(kept, (2, 1, 0), strict=True):
        picture = cv2.imread(str(tmp_path / "out" / record["values"]["keyframes"]["file"]))
        assert picture.shape == (180, 320, 3)
        assert int(picture.mean(axis=(0, 1)).argmax()) == channel
        colour = record["values"]["colours"]["dominant"][0]["rgb"]
        assert int(np.argmax(colour)) == 2 - channel
