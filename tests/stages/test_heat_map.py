from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.geometry.pitches import pitch
from cvpipe.plans import Plan
from cvpipe.png import decode_png
from cvpipe.results import FrameRecord
from cvpipe.stages.heat_map import HeatMap, HeatMapOptions
from tests.sequences import SIZE, scene, stops
from tests.test_camera import pitch_camera
from tests.test_placing import meet


class Footage:
    """A grey picture, and records."""

    size = SIZE

    def __init__(self, records: list[FrameRecord], shade: int | None = 100) -> None:
        self._records, self._shade = records, shade

    def records(self) -> Iterator[FrameRecord]:
        return iter(self._records)

    def still(self, width: int, height: int) -> np.ndarray | None:
        return None if self._shade is None else np.full((height, width, 3), self._shade, np.uint8)


def paint(folder: Path, records: list[FrameRecord], shade: int | None = 100, **options: Any) -> np.ndarray:
    stage = HeatMap(HeatMapOptions(**options))
    stage.make(Footage(records, shade), folder)  # type: ignore[arg-type]
    return decode_png((folder / stage.files()[0]).read_bytes(), max_pixels=10**6)


TWO = {1: stops((0, (160, 180)), (8, (480, 180)), (10, (0, 0)))}  # eight seconds here, two there


def test_the_brightest_place_is_where_most_time_is_spent(tmp_path: Path) -> None:
    image = paint(tmp_path, scene(TWO, seconds=10)).astype(int)
    assert image.shape == (360, 640, 3)
    y, x = np.unravel_index(int(image.sum(axis=2).argmax()), image.shape[:2])
    assert (abs(int(x) - 160) <= 1, abs(int(y) - 180) <= 1) == (True, True)
    assert image[180, 160].tolist() == [226, 226, 179]
    assert image[180, 320].tolist() == [60, 60, 60]
    # A quarter of the time: a quarter of the way through the colours, three quarters of the cover.
    assert abs(image[180, 480] - [65, 38, 97]).max() <= 12


def test_where_nobody_was_the_frame_is_to_be_seen_in_grey(tmp_path: Path) -> None:
    assert paint(tmp_path, scene(TWO, seconds=10))[10, 10].tolist() == [60, 60, 60]
    assert paint(tmp_path, [], shade=None).max() == 0


def test_time_counts_not_the_number_of_frames(tmp_path: Path) -> None:
    slow = [record for record in scene(TWO, seconds=10) if record.frame % 5 == 0]
    every = paint(tmp_path, scene(TWO, seconds=10)).astype(int)
    assert abs(paint(tmp_path, slow).astype(int) - every).max() <= 12


def test_only_the_objects_asked_for_count(tmp_path: Path) -> None:
    records = scene(
        {1: stops((0, (160, 180)), (9, (0, 0))), 2: stops((0, (480, 180)), (9, (0, 0)))}, seconds=5, labels={2: "car"}
    )
    image = paint(tmp_path, records, of="people", when='label == "car"')
    assert image[180, 160].tolist() == [60, 60, 60]
    assert image[180, 480].tolist() == [226, 226, 179]
    assert paint(tmp_path, records, of="others")[180, 160].tolist() == [60, 60, 60]


def test_the_picture_is_no_larger_than_asked_for_and_is_named_after_its_stage(tmp_path: Path) -> None:
    assert paint(tmp_path, scene(TWO, seconds=1), max_side=320, name="where").shape == (180, 320, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["heat_map-where.png"]


def where_hottest(image: np.ndarray, plan: Plan) -> tuple[int, int]:
    """Where it is brightest beyond what lies below."""
    more = image.astype(int) - plan.plot().to_image()
    y, x = np.unravel_index(int(more.sum(axis=2).argmax()), image.shape[:2])
    return int(x), int(y)


STAND = {"units": "metres", "camera": {**pitch_camera(), "width": 1920, "height": 1080}}


def test_on_the_ground_most_time_is_bright_on_the_lines_of_the_pitch(tmp_path: Path) -> None:
    # Eight seconds far away, two near the camera; and somebody off the pitch all the time.
    records = meet([[(20.0, 25.0) if n < 80 else (-15.0, -20.0), (60.0, 30.0)] for n in range(100)])
    image = paint(tmp_path, records, **STAND, radius=0.02)
    plan = Plan.within([], field=pitch("football"), side=960)
    assert image.shape == (plan.height, plan.width, 3) == (652, 960, 3)
    (far, near) = plan.pixels([(20, 25), (-15, -20)]).astype(int).tolist()
    assert where_hottest(image, plan) == pytest.approx(far, abs=1)
    assert image[near[1], near[0]].tolist() != image[near[1], far[0]].tolist()
    assert image[200, 300].tolist() == [44, 104, 60]  # nobody was on this turf
    assert image[20, 300].tolist() == [44, 104, 60]  # and nothing counts that is off the picture


def test_without_a_pitch_there_is_a_grid_of_metres_around_where_they_were(tmp_path: Path) -> None:
    camera = {**STAND["camera"], "pitch": None}  # type: ignore[dict-item]
    camera["points"] = [
        {"pixel": point["pixel"], "world": list(place)}
        for point, place in zip(camera["points"], [(0, 0), (0, 34), (-36, 20.16), (36, 20.16), (9.15, 0)], strict=True)
    ]
    records = meet([[(0.0, 10.0) if n < 30 else (2.0, 20.0)] for n in range(40)])
    image = paint(tmp_path, records, units="metres", camera=camera, max_side=300)
    assert image.shape == (297, 81, 3)  # 10 m by 2 m, with half a metre around them, 27 pixels each
    plan = Plan.within([(0, 10), (2, 20)], field=None, side=300)
    assert where_hottest(image, plan) == pytest.approx((13, 283), abs=1)


def test_nobody_on_the_ground_is_a_bare_pitch(tmp_path: Path) -> None:
    image = paint(tmp_path, [], **STAND)
    assert image[200, 300].tolist() == [44, 104, 60]


def test_metres_need_a_camera(tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline, match="needs a camera"):
        paint(tmp_path, [], units="metres")
