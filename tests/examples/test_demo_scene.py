from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings
from examples.demo.check import check, succeeded
from examples.demo.scene import FPS, RIDES, Scene, clock_text, make_clip, sign_text
from examples.demo.truth import Box, FrameTruth, Truth


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    path = tmp_path_factory.mktemp("demo") / "street.mp4"
    return path, make_clip(path)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_the_clip_is_h264_of_eight_seconds_with_a_keyframe_every_two(clip: tuple[Path, Truth]) -> None:
    path, truth = clip
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 854, 480)
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        times = sorted(packet.pts * stream.time_base for packet in packets)
        keys = sorted(packet.pts * stream.time_base for packet in packets if packet.is_keyframe)
    assert times == [Fraction(number, 24) for number in range(192)]
    assert keys == [0, 2, 4, 6]
    assert len(truth.frames) == 192
    assert path.stat().st_size < 2_000_000


def test_the_clip_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_clip(tmp_path / f"{name}.mp4", frames=12)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert Truth.read(tmp_path / "one.json") == Truth.read(tmp_path / "two.json")


def test_the_truth_is_read_as_it_was_written(clip: tuple[Path, Truth]) -> None:
    path, truth = clip
    assert Truth.read(path.with_suffix(".json")) == truth


@pytest.mark.parametrize(
    ("time", "clock", "sign"),
    [
        (0.0, "07:55", "LIONS 2:1 BEARS"),
        (0.999, "07:55", "LIONS 2:1 BEARS"),
        (1.0, "07:56", "LIONS 2:1 BEARS"),
        (95 / 24, "07:58", "LIONS 2:1 BEARS"),
        (96 / 24, "07:59", "LIONS 3:1 BEARS"),
        (5.0, "08:00", "LIONS 3:1 BEARS"),
        (191 / 24, "08:02", "LIONS 3:1 BEARS"),
    ],
)
def test_clock_and_score_at_a_time(time: float, clock: str, sign: str) -> None:
    assert (clock_text(time), sign_text(time)) == (clock, sign)


def test_cars_go_both_ways_at_their_own_speeds() -> None:
    speeds = [ride.speed for ride in RIDES]
    assert min(speeds) < 0 < max(speeds)
    assert len({abs(speed) for speed in speeds}) == len({ride.plate for ride in RIDES}) == len(RIDES) == 4


def test_every_plate_is_in_view_for_three_seconds_and_never_hidden(clip: tuple[Path, Truth]) -> None:
    in_view = dict.fromkeys((ride.name for ride in RIDES), 0)
    for frame in clip[1].frames:
        for car in frame.cars:
            in_view[car.name] += car.in_view
        for one, other in itertools.permutations(frame.cars, 2):
            nearer = one.box[3] > other.box[3]
            assert not nearer or apart(one.box, other.plate_box), f"{one.name} hides {other.name} on {frame.frame}"
            assert one.box[3] != other.box[3] or apart(one.box, other.box), f"{one.name} drives into {other.name}"
    assert min(in_view.values()) >= 3 * FPS


def part(picture: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.uint8]:
    return picture[round(box[1]) : round(box[3]), round(box[0]) : round(box[2])]


def test_plates_are_where_the_truth_says(scene: Scene) -> None:
    picture, frame = scene.draw(60)
    shown = [car for car in frame.cars if car.in_view]
    assert len(shown) == 4
    for car in shown:
        plate = part(picture, car.plate_box)
        light, dark = (plate.min(axis=2) > 200).mean(), (plate.max(axis=2) < 80).mean()
        assert light > 0.5, car.name
        assert dark > 0.1, car.name


def test_only_the_panels_and_the_street_level_change(scene: Scene) -> None:
    first, before = scene.draw(0)
    later, after = scene.draw(120)
    assert (before.clock, before.sign) != (after.clock, after.sign)
    changed = (first != later).any(axis=2)
    for panel in ((194, 104, 292, 146), (368, 122, 636, 170)):
        assert part(changed.astype(np.uint8), panel).any()
        changed[panel[1] : panel[3], panel[0] : panel[2]] = False
    assert not changed[:260].any()
    assert changed[290:].any()


def test_a_frame_far_from_all_cars_shows_none(scene: Scene) -> None:
    _, frame = scene.draw(24 * 60)
    assert frame == FrameTruth(1440, 60.0, "08:55", "LIONS 3:1 BEARS", ())


def test_the_engine_reads_a_part_of_the_clip_as_it_was_drawn(clip: tuple[Path, Truth], tmp_path: Path) -> None:
    path, truth = clip
    settings = Settings(data_dir=tmp_path / "data")
    pipeline = load_pipeline("read-street", settings=settings)
    a_part = TimeRange.model_validate({"from": 2.2, "to": 4.4})  # all four plates, and the goal
    run_local(path, pipeline, tmp_path / "out", settings=settings, chunk_seconds=1, range=a_part)
    lines = (tmp_path / "out" / "frames.ndjson").read_text(encoding="utf-8").splitlines()
    findings = check([json.loads(line) for line in lines], truth)
    assert succeeded(findings), findings
    assert [finding.what for finding in findings] == [
        "frames looked at",
        "station clock",
        "scoreboard from 2.2 s",
        "scoreboard from 4.0 s",
        "plate of the red saloon",
        "plate of the green hatchback",
        "plate of the taxi",
        "plate of the blue van",
        "cars",
    ]
