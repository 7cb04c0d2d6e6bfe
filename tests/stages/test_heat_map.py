from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cvpipe.png import decode_png
from cvpipe.results import FrameRecord
from cvpipe.stages.heat_map import HeatMap, HeatMapOptions
from tests.sequences import SIZE, scene, stops


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
