"""Maps: files that stages hand out, once each, in order, and not too many."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.errors import InvalidPipeline, StageFailed
from cvpipe.exports.maps import keep_map, map_name, map_png, maps_in
from cvpipe.pipeline import map_stages, parse_pipeline
from cvpipe.settings import Settings
from cvpipe.stages import MapSampling

STAGES = [
    {"type": "resize", "max_side": 192},
    {"type": "edges", "maps": {"every_seconds": 2}},
    {"type": "edges", "name": "edges-0", "method": "sobel", "maps": {"every_seconds": 10}},
    {"type": "quality"},
]


def test_the_first_frame_of_each_span_is_due() -> None:
    times = [0, 0.4, 0.99, 1.0, 1.4, 3.5, 3.9, 4.2]
    sampling = MapSampling(every_seconds=1)
    due = [sampling.is_due(time, before) for time, before in zip(times, [None, *times], strict=False)]
    assert due == [True, False, False, True, False, True, False, True]


def test_colours_come_as_they_were_and_a_map_kept_twice_is_there_once(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    for _ in range(2):
        keep_map(tmp_path / "job", map_name("flow", 7), map_png(image))
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["flow-000007.png"]
    assert np.array_equal(cv2.imread(str(tmp_path / "job" / "flow-000007.png"), cv2.IMREAD_UNCHANGED), image)


def test_there_is_an_end_to_maps_but_one_more_of_the_same_is_none(tmp_path: Path) -> None:
    png = map_png(np.zeros((2, 2), np.uint8))
    for number in range(3):
        keep_map(tmp_path, map_name("edges", number), png, most=3)
    keep_map(tmp_path, map_name("edges", 1), png, most=3)
    with pytest.raises(StageFailed, match="more than 3 maps"):
        keep_map(tmp_path, map_name("edges", 3), png, most=3)


def test_maps_are_listed_by_stage_and_frame(tmp_path: Path) -> None:
    png = map_png(np.zeros((2, 2), np.uint8))
    for name in ("edges-1000000.png", "edges-000020.png", "edges-0-000003.png", "quality-000001.png", "edges-7.png"):
        keep_map(tmp_path, name, png)
    stages = map_stages(parse_pipeline({"name": "p", "stages": STAGES}).make_stages())
    assert stages == ["edges", "edges-0"]
    assert maps_in(tmp_path, stages) == ["edges-000020.png", "edges-1000000.png", "edges-0-000003.png"]
    assert maps_in(tmp_path / "none", stages) == []


def test_a_run_hands_maps_out_and_another_one_into_the_same_folder_takes_them_away(
    assets: Path, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data", device="cpu", threads=2)
    video, out = assets / "videos" / "car-detection.mp4", tmp_path / "out"
    job = run_local(video, parse_pipeline({"name": "p", "stages": STAGES}), out, settings=settings, chunk_seconds=5)
    frames = [round(2 * n * 12.5) for n in range(16)]  # 12.5 frames a second, 30 seconds
    names = [f"edges-{frame:06d}.png" for frame in frames]
    assert job["exports"] == [
        "frames.ndjson", *names, *(f"edges-0-{frame:06d}.png" for frame in (0, 125, 250, 375)),
    ]  # fmt: skip
    shown = cv2.imread(str(out / "edges-000125.png"), cv2.IMREAD_UNCHANGED)
    assert shown.shape == (108, 192)
    assert set(np.unique(shown)) == {0, 255}
    line = (out / "frames.ndjson").read_text().splitlines()[125]
    assert f'"edges":{{"density":{round(float((shown > 0).mean()), 6)}' in line
    rare = [{**STAGES[1], "maps": {"every_seconds": 20}}]
    job = run_local(video, parse_pipeline({"name": "p", "stages": rare}), out, settings=settings)
    assert job["exports"] == ["frames.ndjson", "edges-000000.png", "edges-000250.png"]
    assert not (out / "edges-000125.png").exists()


def test_maps_are_of_whole_frames() -> None:
    stages = [{"type": "tiles", "columns": 2, "rows": 2}, {"type": "edges", "maps": {"every_seconds": 5}}]
    with pytest.raises(InvalidPipeline, match="hands out maps of whole frames; put it before 'tiles'"):
        parse_pipeline({"name": "p", "stages": stages})
