from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import check_fit, parse_pipeline
from cvpipe.results import Objects
from tests.sequences import SIZE, line, run, same_wherever_cut, scene, stops

GATE = {"name": "gate", "start": [0, 200], "end": [640, 200]}
COUNT = {"type": "line_zone", "name": "count", "of": "people", "lines": [GATE]}


def test_who_crosses_is_counted_by_direction_and_class() -> None:
    records = scene(
        {
            1: line((100, 100), (100, 300), stop=2),
            2: line((200, 300), (200, 100), begin=1, stop=3),
            3: line((300, 150), (300, 260), stop=3),
            4: line((400, 150), (500, 190), stop=3),
        },
        seconds=3,
        labels={1: "car", 2: "car", 3: "truck", 4: "car"},
    )
    found = same_wherever_cut(records, COUNT)
    assert found.value("count") == {
        "gate": {
            "in": 2, "out": 1, "by_class": {"car": {"in": 1, "out": 1}, "truck": {"in": 1, "out": 0}},
        }
    }  # fmt: skip
    assert found.value("count", 9) == {"gate": {"in": 0, "out": 0, "by_class": {}}}
    assert [(e["kind"], e["start"], e["end"], e["tracks"], e["values"]) for e in found.told()] == [
        ("line_crossed", 1.1, 1.1, [1], {"line": "gate", "direction": "in"}),
        ("line_crossed", 1.4, 1.4, [3], {"line": "gate", "direction": "in"}),
        ("line_crossed", 2.1, 2.1, [2], {"line": "gate", "direction": "out"}),
    ]
    assert found.ids == ["1100-1", "1400-2", "2100-3"]
    assert found.told()[0] | {"stage": ""} == {
        "number": 1, "kind": "line_crossed", "stage": "", "start": 1.1, "end": 1.1, "start_frame": 11, "end_frame": 11,
        "evidence_frame": 11, "evidence_time": 1.1, "is_over": True, "tracks": [1],
        "objects": [{"stage": "people", "track": 1, "label": "car", "box": [90, 170, 110, 210]}],
        "values": {"line": "gate", "direction": "in"},
    }  # fmt: skip


def test_the_side_is_that_as_one_looks_from_the_start_to_the_end() -> None:
    records = scene({1: line((100, 100), (300, 100), stop=2)}, seconds=2)
    down = {**COUNT, "lines": [{"name": "wall", "start": [200, 0], "end": [200, 360]}]}
    up = {**COUNT, "lines": [{"name": "wall", "start": [200, 360], "end": [200, 0]}]}
    assert run(records, down).value("count")["wall"]["out"] == 1
    assert run(records, up).value("count")["wall"]["in"] == 1


@pytest.mark.parametrize(("start", "end"), [([641, 0], [900, 300]), ([0, -9], [640, -1]), ([20, 361], [30, 900])])
def test_a_line_outside_of_the_picture_is_told_when_the_video_is_known(start: list[int], end: list[int]) -> None:
    def check(start: list[int], end: list[int]) -> None:
        gate = {**COUNT, "lines": [GATE, {"name": "far", "start": start, "end": end}]}
        stages = [{"type": "detect", "name": "people", "model": "m"}, {"type": "track", "of": "people"}, gate]
        check_fit(parse_pipeline({"name": "p", "stages": stages}), *SIZE)

    with pytest.raises(InvalidPipeline, match="'count' does not fit the video's 640x360 pixels: 'far' lies outside"):
        check(start, end)
    check([640, 0], [900, 300])  # on its edge
    check([-50, 100], [900, 900])  # partly in it


def test_who_walks_round_the_end_of_a_line_has_not_crossed_it() -> None:
    short = {**COUNT, "lines": [{"name": "gate", "start": [300, 200], "end": [400, 200]}]}
    records = scene({1: line((200, 150), (200, 250), stop=2), 2: line((350, 150), (350, 250), stop=2)}, seconds=2)
    assert [e["tracks"] for e in run(records, short).told()] == [[2]]


def test_a_fast_one_is_counted_where_no_frame_shows_it_near_the_line() -> None:
    records = scene({1: stops((0, (100, 20)), (1, (120, 350)), (2, (120, 350)))}, seconds=2)
    assert len(run(records, COUNT).told()) == 1


def test_who_is_unseen_for_a_while_is_counted_when_it_comes_back_on_the_other_side() -> None:
    records = scene({1: line((100, 100), (100, 300), stop=4)}, seconds=4)
    hidden = [replace(record, objects=Objects.none()) if 1.5 < record.time < 2.5 else record for record in records]
    assert [e["start"] for e in same_wherever_cut(hidden, COUNT).told()] == [2.5]


def test_who_trembles_on_the_line_is_counted_once_with_a_margin() -> None:
    def tremble(time: float) -> tuple[float, float]:
        return 100, 150 + 25 * time + (6 if round(time * 10) % 2 else -6)

    records = scene({1: tremble}, seconds=4)
    assert [e["values"]["direction"] for e in run(records, COUNT).told()] == ["in", "out", "in", "out", "in"]
    assert [e["values"]["direction"] for e in run(records, {**COUNT, "margin": 8}).told()] == ["in"]


def test_lines_in_shares_of_the_frame_are_where_those_in_pixels_are() -> None:
    middle = {**COUNT, "lines": [{"name": "gate", "start": [0, 180], "end": [640, 180]}]}
    shares = {**COUNT, "units": "relative", "lines": [{"name": "gate", "start": [0, 0.5], "end": [1, 0.5]}]}
    records = scene({1: line((100, 100), (100, 300), stop=2)}, seconds=2)
    assert run(records, shares).told() == run(records, middle).told() != []


def test_the_point_that_has_to_cross_can_be_chosen() -> None:
    records = scene({1: line((100, 190), (100, 230), stop=4)}, seconds=4)
    assert [e["start"] for e in run(records, COUNT).told()] == [1.1]
    assert [e["start"] for e in run(records, {**COUNT, "anchor": "center"}).told()] == [3.1]
    assert run(records, {**COUNT, "anchor": "top_center"}).told() == []


def test_frames_at_which_nobody_looked_pass_by_unchanged() -> None:
    records = scene({1: line((100, 100), (100, 300), stop=2)}, seconds=2)
    records[5] = replace(records[5], status="decode_error", objects=Objects.none())
    found = same_wherever_cut(records, COUNT)
    assert found.records[5] == records[5]
    assert len(found.told()) == 1


def test_only_tracks_for_which_the_condition_holds_are_counted() -> None:
    records = scene({n: line((100 * n, 100), (100 * n, 300), stop=2) for n in (1, 2)}, seconds=2, labels={2: "car"})
    assert [e["tracks"] for e in run(records, {**COUNT, "when": 'label == "car"'}).told()] == [[2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lines": [{"name": "a", "start": [5, 5], "end": [5, 5]}]}, "line 'a' has no length"),
        ({"lines": [GATE, GATE]}, "two are called 'gate'"),
        ({"units": "relative"}, "[0, 200] is no share of the frame, from 0 to 1; leave out `units` for pixels"),
        ({"lines": []}, "at least 1 item"),
        ({"lines": [{"name": "a", "start": [5], "end": [5, 5]}]}, "lines.0.start"),
    ],
)
def test_a_wrong_line_is_told(change: dict[str, Any], message: str) -> None:
    stages = [{"type": "detect", "name": "people", "model": "m"}, {"type": "track"}, {**COUNT, **change}]
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline({"name": "p", "stages": stages})
    assert message in str(caught.value)


def test_without_tracks_there_is_nothing_to_count() -> None:
    with pytest.raises(
        InvalidPipeline, match=r"stage 2 \(line_zone 'count'\) follows objects by their track numbers; put"
    ):
        parse_pipeline({"name": "p", "stages": [{"type": "detect", "name": "people", "model": "m"}, COUNT]})
