from __future__ import annotations

import pytest

from tests.sequences import line, run, same_wherever_cut, scene, stops

WAY = {"type": "direction", "name": "way", "of": "people"}


@pytest.mark.parametrize(
    ("to", "angle", "towards"),
    [
        ((300, 100), 0.0, "up"),
        ((400, 100), 45.0, "up-right"),
        ((400, 200), 90.0, "right"),
        ((400, 300), 135.0, "down-right"),
        ((300, 300), 180.0, "down"),
        ((200, 300), 225.0, "down-left"),
        ((200, 200), 270.0, "left"),
        ((200, 100), 315.0, "up-left"),
        ((295, 100), 357.1, "up"),
    ],
)
def test_a_direction_is_told_in_degrees_clockwise_from_up(to: tuple[float, float], angle: float, towards: str) -> None:
    found = run(scene({1: line((300, 200), to, stop=2)}, seconds=2), WAY)
    value = found.of_track("way", 1)[-1]
    assert (value["angle"], value["towards"]) == (pytest.approx(angle, abs=0.1), towards)


def test_speed_is_that_of_the_last_second() -> None:
    path = stops((0, (100, 200)), (2, (100, 200)), (9, (0, 0)))
    moving = lambda time: (100 + 60 * max(0.0, time - 2), 200)  # noqa: E731 - a path is a function
    found = same_wherever_cut(scene({1: path, 2: moving}, seconds=4), WAY)
    assert found.of_track("way", 1)[-1] == {"angle": None, "towards": None, "speed": 0.0}
    assert [value["speed"] for value in found.of_track("way", 2)[::10]] == [0, 0, 0, 60, 60]
    assert found.of_track("way", 2)[25] == {"angle": 90.0, "towards": "right", "speed": 30.0}


def test_who_goes_the_wrong_way_for_long_enough_is_told() -> None:
    paths = {
        1: line((100, 100), (500, 100), stop=4),
        2: line((500, 200), (100, 200), begin=1, stop=4),
        3: line((300, 300), (240, 300), stop=0.8),
    }
    found = same_wherever_cut(scene(paths, seconds=6), {**WAY, "expected": 90, "tolerance": 60})
    (wrong,) = found.told()
    assert (wrong["kind"], wrong["tracks"], wrong["start"], wrong["end"]) == ("wrong_way", [2], 1.1, 4.0)
    assert wrong["values"] == {"angle": 270.0, "seconds": 2.9}
    assert run(scene(paths, seconds=6), WAY).told() == []


def test_a_little_off_the_way_is_right_also_where_degrees_begin_anew() -> None:
    north = {**WAY, "expected": 350, "tolerance": 30}
    records = scene({1: line((300, 350), (320, 50), stop=3), 2: line((100, 350), (400, 50), stop=3)}, seconds=3)
    assert [e["tracks"] for e in run(records, north).told()] == [[2]]
