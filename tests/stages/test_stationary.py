from __future__ import annotations

from typing import Any

from tests.sequences import line, run, same_wherever_cut, scene, stops

STILL = {"type": "stationary", "name": "still", "of": "people", "seconds": 3, "gap_seconds": 1}


def summary(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(e["kind"], e["tracks"], e["start"], e["end"], e["is_over"]) for e in events]


def test_who_stands_still_is_told_from_when_on_until_it_moves() -> None:
    paths = {
        1: stops((0, (100, 200)), (2, (300, 200)), (7, (500, 200)), (9, (500, 200))),
        2: line((0, 100), (600, 100), stop=9),
    }
    found = same_wherever_cut(scene(paths, seconds=9), STILL)
    assert summary(found.told()) == [("stationary", [1], 2.0, 6.9, True)]
    assert found.told()[0]["values"] == {"seconds": 4.9}
    assert found.of_track("still", 1)[49:51] == [
        {"seconds": 2.9, "stationary": False, "abandoned": False},
        {"seconds": 3.0, "stationary": True, "abandoned": False},
    ]


def test_who_trembles_stands_still_and_who_creeps_does_not() -> None:
    def tremble(time: float) -> tuple[float, float]:
        return 100 + (3 if round(time * 10) % 2 else -3), 200

    found = run(scene({1: tremble, 2: line((100, 100), (180, 100), stop=10)}, seconds=10), STILL)
    assert [(e["tracks"], e["is_over"]) for e in found.told()] == [([1], False)]


def test_who_is_hidden_for_a_moment_still_stands_there() -> None:
    here, away = (200.0, 200.0), None
    path = lambda time: away if 2 < time < 2.8 else here  # noqa: E731 - a path is a function
    assert summary(same_wherever_cut(scene({1: path}, seconds=6), STILL).told()) == [
        ("stationary", [1], 0.0, 6.0, False)
    ]
    long = lambda time: away if 2 < time < 4.5 else here  # noqa: E731
    assert summary(same_wherever_cut(scene({1: long}, seconds=8), STILL).told()) == [
        ("stationary", [1], 4.5, 8.0, False)
    ]


def test_a_bag_is_abandoned_once_its_owner_has_been_away_for_long_enough() -> None:
    paths = {
        1: stops((0, (200, 200)), (5, (500, 200)), (20, (0, 0))),
        2: stops((0, (220, 200)), (20, (0, 0))),
    }
    records = scene(paths, seconds=15, labels={1: "person", 2: "bag"})
    leave = {**STILL, "owners": ["person"], "abandoned_seconds": 4}
    found = same_wherever_cut(records, leave)
    assert summary(found.told("abandoned")) == [("abandoned", [2], 4.9, 15.0, False)]
    assert [value["abandoned"] for value in found.of_track("still", 2)[87:91]] == [False, False, True, True]
    assert all(not value["abandoned"] for value in found.of_track("still", 1))
    returned = scene(
        {**paths, 1: stops((0, (200, 200)), (5, (500, 200)), (8, (200, 200)), (20, (0, 0)))},
        seconds=15, labels={1: "person", 2: "bag"},
    )  # fmt: skip
    assert run(returned, leave).told("abandoned") == []


def test_without_owners_nothing_is_abandoned() -> None:
    records = scene({2: stops((0, (220, 200)), (20, (0, 0)))}, seconds=15, labels={2: "bag"})
    assert run(records, {**STILL, "abandoned_seconds": 0}).told("abandoned") == []
