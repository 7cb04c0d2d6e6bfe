"""The built-in pipelines `detect` and `read-text`: a man in a room, and the drawn street, whose signs are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings
from examples.demo.scene import FPS, make_clip
from tests.modelcards import write_yolox_card


def run(name: str, video: Path, out: Path, models: Path | None = None, **more: Any) -> list[dict[str, Any]]:
    settings = Settings(data_dir=out, models_dir=models, device="cpu", threads=2)
    run_local(video, load_pipeline(name, settings=settings), out, settings=settings, **more)
    return [json.loads(line) for line in (out / "frames.ndjson").read_text().splitlines()]


def test_detect_finds_the_man_on_every_frame(assets: Path, tmp_path: Path) -> None:
    write_yolox_card(tmp_path / "models", assets)
    video = assets / "videos" / "one-by-one-person-detection.mp4"
    span = TimeRange(start=24, stop=24.5)
    records = run("detect", video, tmp_path / "out", tmp_path / "models", range=span)
    assert [record["frame"] for record in records] == [240, 241, 242, 243, 244]
    for record in records:
        (man,) = record["objects"]
        assert (man["stage"], man["label"]) == ("detect", "person")
        assert man["score"] > 0.8
    # He stands in the middle, from head to heels; a hand's breadth is 20 pixels.
    assert records[0]["objects"][0]["box"] == pytest.approx([357, 32, 527, 411], abs=8)


def test_read_text_reads_the_street_twice_a_second(tmp_path: Path) -> None:
    truth = make_clip(tmp_path / "street.mp4", frames=FPS * 5 // 8)
    records = run("read-text", tmp_path / "street.mp4", tmp_path / "out")
    assert [record["time"] for record in records] == [0, 0.5]
    for record in records:
        shown = truth.frames[record["frame"]]
        plates = [car.plate for car in shown.cars if car.in_view]
        read = [row["text"] for row in record["objects"]]
        for word in f"{shown.clock} {shown.sign} STATION BAKERY BOOKS".split():
            assert any(word in text for text in read), (word, read)
        assert any(plate.replace(" ", "") in text.replace(" ", "") for plate in plates for text in read), read
