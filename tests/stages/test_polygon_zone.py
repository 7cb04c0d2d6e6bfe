from __future__ import annotations

from typing import Any

import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import parse_pipeline
from tests.sequences import line, run, same_wherever_cut, scene, stops

DOOR = {"name": "door", "polygon": [[100, 100], [300, 100], [300, 300], [100, 300]]}
WATCH = {"type": "polygon_zone", "name": "zones", "of": "people", "zones": [DOOR]}


def test_who_enters_stays_and_leaves_is_told_with_how_long() -> None:
    records = scene({7: line((0, 200), (400, 200), stop=4)}, seconds=6)  # 100 px/s: inside from 1.0 up to 3.0 s
    found = same_wherever_cut(records, WATCH)
    assert [(e["kind"], e["start"], e["end"], e["tracks"], e["values"]) for e in found.told()] == [
        ("zone_entered", 1.0, 1.0, [7], {"zone": "door"}),
        ("zone_left", 2.9, 2.9, [7], {"zone": "door"}),
        ("zone_dwell", 1.0, 2.9, [7], {"zone": "door", "seconds": 1.9}),
    ]
    assert [e["is_over"] for e in found.told()] == [True] * 3
    assert found.ids == ["1000-1", "4000-2", "4000-3"]  # told a second later: it might have come back
    assert [record.values["zones"]["door"]["count"] for record in found.records[8:32]] == [0, 0, *[1] * 20, 0, 0]
    assert found.value("zones") == {"door": {"count": 0, "entered": 1, "left": 1}}
    assert found.of_track("zones", 7)[9:13] == [None, {"door": 0.0}, {"door": 0.1}, {"door": 0.2}]


def test_who_is_gone_for_less_than_the_time_to_leave_has_stayed() -> None:
    path = stops((0, (200, 200)), (2, (20, 20)), (2.9, (200, 200)), (5, (20, 20)), (8, (20, 20)))
    found = same_wherever_cut(scene({1: path}, seconds=8), WATCH)
    assert [(e["kind"], e["start"], e["end"]) for e in found.told()] == [
        ("zone_entered", 0, 0), ("zone_left", 4.9, 4.9), ("zone_dwell", 0, 4.9),
    ]  # fmt: skip
    at_once = run(scene({1: path}, seconds=8), {**WATCH, "leave_seconds": 0})
    assert [(e["start"], e["end"]) for e in at_once.told("zone_dwell")] == [(0, 1.9), (2.9, 4.9)]


def test_who_only_passes_by_has_not_entered() -> None:
    records = scene({1: line((0, 200), (400, 200), stop=4), 2: line((0, 250), (400, 250), stop=16)}, seconds=18)
    found = same_wherever_cut(records, {**WATCH, "min_seconds": 3})
    assert [(e["kind"], e["tracks"], e["start"], e["evidence_time"]) for e in found.told("zone_entered")] == [
        ("zone_entered", [2], 4.0, 7.0)
    ]
    assert [e["values"]["seconds"] for e in found.told("zone_dwell")] == [7.9]


def test_who_is_still_there_at_the_end_is_told_with_no_end() -> None:
    found = same_wherever_cut(scene({1: line((200, 200), (210, 210), stop=3)}, seconds=3), WATCH)
    (stay,) = found.told("zone_dwell")
    assert (stay["start"], stay["end"], stay["is_over"], stay["values"]["seconds"]) == (0, 3, False, 3)
    assert found.told("zone_left") == []


def test_too_many_are_told_with_the_moment_at_which_there_were_most() -> None:
    paths = {n: stops((n, (150 + 10 * n, 200)), (10 - n, (0, 0))) for n in (1, 2, 3, 4)}
    crowded = {**WATCH, "zones": [{**DOOR, "most": 2}]}
    found = same_wherever_cut(scene(paths, seconds=11), crowded)
    (crowd,) = found.told("zone_overcrowded")
    assert (crowd["start"], crowd["end"], crowd["values"]) == (3, 6.9, {"zone": "door", "peak": 4})
    assert (crowd["evidence_time"], crowd["tracks"]) == (4, [1, 2, 3, 4])
    assert run(scene(paths, seconds=11), {**crowded, "overcrowded_seconds": 5}).told("zone_overcrowded") == []
    cut_off = run(scene(paths, seconds=5), crowded).told("zone_overcrowded")
    assert [(e["end"], e["is_over"]) for e in cut_off] == [(5, False)]


def test_objects_without_a_track_are_counted_and_neither_enter_nor_leave() -> None:
    found = same_wherever_cut(scene({-1: line((200, 200), (210, 200), stop=3)}, seconds=5), WATCH)
    assert found.value("zones", 0) == {"door": {"count": 1, "entered": 0, "left": 0}}
    assert found.records[0].objects.values == ({"zones": {"door": 0.0}},)
    assert found.told() == []


def test_a_point_on_the_edge_between_two_zones_is_in_one_of_them() -> None:
    beside = {"name": "hall", "polygon": [[300, 100], [500, 100], [500, 300], [300, 300]]}
    records = scene({1: line((200, 200), (400, 200), stop=4)}, seconds=4)  # at 2.0 s just on the edge
    found = run(records, {**WATCH, "zones": [DOOR, beside]})
    assert found.of_track("zones", 1)[19:22] == [{"door": 1.9}, {"hall": 0.0}, {"hall": 0.1}]


def test_a_polygon_with_a_bay_holds_only_what_is_inside() -> None:
    horseshoe = {
        "name": "u",
        "polygon": [[0, 0], [300, 0], [300, 300], [200, 300], [200, 100], [100, 100], [100, 300], [0, 300]],
    }
    records = scene({1: line((0.5, 200), (640.5, 200), stop=64)}, seconds=64, fps=1)
    found = run(records, {**WATCH, "zones": [horseshoe]})
    assert [r.time for r in found.records if r.values["zones"]["u"]["count"]] == [*range(10), *range(20, 30)]


def test_how_long_somebody_has_been_in_a_zone_can_be_asked_by_a_later_stage() -> None:
    records = scene({1: line((200, 200), (200, 210), stop=5), 2: line((10, 10), (10, 20), stop=5)}, seconds=5)
    count = {"type": "polygon_zone", "name": "long", "of": "people", "zones": [DOOR], "when": "zones.door > 2 s"}
    found = same_wherever_cut(records, WATCH, count)
    assert [record.values["long"]["door"]["count"] for record in found.records[19:23]] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ({"name": "a", "polygon": [[0, 0], [5, 5]]}, "at least 3 items"),
        ({"name": "a", "polygon": [[0, 0], [5, 5], [10, 10]]}, "polygon 'a' has no area"),
        ({"name": "not a name", "polygon": [[0, 0], [5, 5], [10, 0]]}, "must match pattern"),
        ({**DOOR, "most": -1}, "most must be greater than or equal to 0"),
    ],
)
def test_a_wrong_zone_is_told(zone: dict[str, Any], message: str) -> None:
    stages = [{"type": "detect", "name": "people", "model": "m"}, {**WATCH, "zones": [zone]}]
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline({"name": "p", "stages": stages})
    assert message in str(caught.value)
