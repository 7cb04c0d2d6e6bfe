from __future__ import annotations

from typing import Any

import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import parse_pipeline
from tests.sequences import line, run, same_wherever_cut, scene

WAY = {
    "type": "path_deviation",
    "name": "way",
    "of": "people",
    "path": [[0, 200], [300, 200], [300, 360]],
    "distance": 25,
}


def test_distance_is_that_from_the_nearest_part_of_the_path() -> None:
    records = scene({1: line((150, 190), (150, 190), stop=1), 2: line((330, 160), (330, 160), stop=1)}, seconds=1)
    found = run(records, WAY)
    assert found.of_track("way", 1)[0] == 10.0
    assert found.of_track("way", 2)[0] == 50.0  # 30 and 40 from the corner


def test_who_strays_is_told_with_the_moment_it_is_farthest() -> None:
    def detour(time: float) -> tuple[float, float]:
        return 50 * time, 200 - max(0.0, 40 - 40 * abs(time - 3))

    found = same_wherever_cut(
        scene({1: detour, 2: line((0, 210), (250, 210), stop=5)}, seconds=5), {**WAY, "seconds": 0.5}
    )
    (stray,) = found.told()
    assert (stray["kind"], stray["tracks"], stray["start"], stray["end"]) == ("path_deviation", [1], 2.7, 3.3)
    assert (stray["evidence_time"], stray["values"]) == (3.0, {"distance": 40.0, "seconds": 0.6})
    assert run(scene({1: detour}, seconds=5), {**WAY, "seconds": 0.7}).told() == []


def test_shares_of_the_frame_are_as_good_as_pixels() -> None:
    shares: dict[str, Any] = {
        **WAY, "units": "relative", "distance": 25 / 360,
        "path": [[0, 200 / 360], [300 / 640, 200 / 360], [300 / 640, 1]],
    }  # fmt: skip
    records = scene({1: line((150, 150), (150, 150), stop=3)}, seconds=3)
    assert run(records, shares).told() == run(records, WAY).told() != []


def test_a_share_that_is_none_is_told() -> None:
    stages = [{"type": "detect", "name": "people", "model": "m"}, {"type": "track"}, {**WAY, "units": "relative"}]
    with pytest.raises(InvalidPipeline, match=r"\[0, 200\] is no share of the frame"):
        parse_pipeline({"name": "p", "stages": stages})
