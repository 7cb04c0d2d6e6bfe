from __future__ import annotations

from tests.sequences import line, run, same_wherever_cut, scene

STAY = {"type": "dwell", "name": "stay", "of": "people"}


def test_each_stay_is_told_when_it_is_over_and_those_that_are_not_at_the_end() -> None:
    paths = {
        1: line((100, 100), (200, 100), begin=1, stop=3),
        2: line((100, 200), (200, 200), begin=2, stop=9),
    }
    found = same_wherever_cut(scene(paths, seconds=8), STAY)
    assert [(e["tracks"], e["start"], e["end"], e["values"], e["is_over"]) for e in found.told("dwell")] == [
        ([1], 1.0, 3.0, {"seconds": 2.0}, True),
        ([2], 2.0, 8.0, {"seconds": 6.0}, False),
    ]
    assert found.ids == ["5100-1", "8000-2"]
    assert found.of_track("stay", 1)[:3] == [0.0, 0.1, 0.2]
    assert found.of_track("stay", 2)[-1] == 6.0


def test_short_stays_are_not_told_of() -> None:
    records = scene({1: line((0, 0), (9, 9), stop=2.9), 2: line((50, 50), (60, 60), stop=3)}, seconds=8)
    assert [e["tracks"] for e in run(records, {**STAY, "seconds": 3}).told()] == [[2]]


def test_who_comes_back_soon_has_stayed() -> None:
    path = lambda time: None if 2 < time < 3.9 else (100.0, 100.0)  # noqa: E731 - a path is a function
    assert [e["values"]["seconds"] for e in run(scene({1: path}, seconds=6), STAY).told()] == [6.0]
    assert [e["values"]["seconds"] for e in run(scene({1: path}, seconds=6), {**STAY, "leave_seconds": 1}).told()] == [
        2.0, 2.1,
    ]  # fmt: skip
