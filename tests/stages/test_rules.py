from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import parse_pipeline
from cvpipe.results import FrameRecord, Objects
from tests.sequences import line, run, same_wherever_cut, scene, stops

GATE = {
    "type": "polygon_zone", "name": "zones", "of": "people",
    "zones": [{"name": "gate", "polygon": [[100, 100], [300, 100], [300, 300], [100, 300]]}],
}  # fmt: skip
OUT = {
    "type": "line_zone",
    "name": "ways",
    "of": "people",
    "lines": [{"name": "out", "start": [400, 360], "end": [400, 0]}],
}


def rules(**texts: str) -> dict[str, Any]:
    named = [{"name": name, "when": text} for name, text in texts.items()]
    return {"type": "rules", "name": "rules", "of": "people", "rules": named}


def with_badges(records: list[FrameRecord], *times: tuple[int, float, float]) -> list[FrameRecord]:
    """Badges of another detector on some tracks, from one time to another."""
    out = []
    for record in records:
        boxes = [
            record.objects.box[n]
            for n, track in enumerate(record.objects.track.tolist())
            if any(who == track and start <= record.time < stop for who, start, stop in times)
        ]
        badges = Objects.make(
            stage="badges", box=[[b[0] + 5, b[1] + 10, b[0] + 10, b[1] + 15] for b in boxes], score=[0.8] * len(boxes),
            label=["badge"] * len(boxes),
        )  # fmt: skip
        out.append(replace(record, objects=Objects.concat((record.objects, badges))))
    return out


def test_who_waits_in_the_gate_without_a_badge_is_told() -> None:
    paths = {n: stops((0, (100 + 40 * n, 200)), (16, (0, 0))) for n in (1, 2, 3)}
    paths[4] = stops((0, (20, 20)), (8, (280, 200)), (16, (0, 0)))
    records = with_badges(
        scene(paths, seconds=18, labels={3: "dog"}),
        (1, 3, 3.5),  # the badge is seen for a moment only
    )
    found = same_wherever_cut(records, GATE, rules(guest='person in zone "gate" for > 10 s and no "badge"'))
    (met,) = found.told("rule_met")
    assert (met["tracks"], met["start"], met["end"], met["is_over"]) == ([2], 10.1, 15.9, True)
    assert met["values"] == {"rule": "guest", "seconds": 5.8}
    assert found.value("rules", 100) == {}
    assert found.value("rules", 101) == {"guest": [2]}


def test_events_of_other_stages_are_put_together() -> None:
    paths = {
        1: line((200, 200), (500, 200), stop=6),  # through the gate, then out
        2: line((320, 100), (500, 100), stop=6),  # out, but never in the gate
    }
    found = same_wherever_cut(
        scene(paths, seconds=8), GATE, OUT,
        rules(leaves='event "zone_left" and crossed line "out" in within 2 s', any='crossed line "out"'),
    )  # fmt: skip
    told = [(e["values"]["rule"], e["tracks"], e["start"], e["end"]) for e in found.told("rule_met")]
    assert told == [("leaves", [1], 4.1, 6.0), ("any", [2], 2.7, 6.0), ("any", [1], 4.1, 6.0)]


def test_a_rule_about_frames_asks_what_stages_say_of_them() -> None:
    paths = {n: stops((n, (150 + 10 * n, 200)), (10, (0, 0))) for n in (1, 2, 3)}
    crowd = {
        "type": "rules", "name": "rules", "of": "people",
        "rules": [{"name": "crowd", "about": "frame", "when": "zones.gate.count >= 3", "seconds": 2}],
    }  # fmt: skip
    (met,) = same_wherever_cut(scene(paths, seconds=12), GATE, crowd).told("rule_met")
    assert (met["start"], met["end"], met["tracks"]) == (3, 9.9, [1, 2, 3])


def test_values_of_stages_count_in_a_rule_as_in_any_condition() -> None:
    paths = {1: stops((0, (200, 200)), (9, (0, 0))), 2: line((0, 100), (600, 100), stop=9)}
    still = {"type": "stationary", "name": "still", "of": "people", "seconds": 3}
    found = run(scene(paths, seconds=8), still, rules(idle="still.stationary and still.seconds > 5 s and score > 0.5"))
    assert [(e["tracks"], e["start"]) for e in found.told("rule_met")] == [([1], 5.1)]


def test_how_long_a_thing_has_been_gone_is_known() -> None:
    records = with_badges(scene({1: stops((0, (200, 200)), (20, (0, 0)))}, seconds=12), (1, 0, 4))
    found = same_wherever_cut(records, rules(lost='no "badge" for > 5 s', has='with "badge" within 1 s'))
    assert [(e["values"]["rule"], e["start"], e["end"]) for e in found.told()] == [("has", 0, 4.9), ("lost", 9.0, 12)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('person in zone "gaet"', "rule 'a': at character 16: there is no zone 'gaet' (did you mean 'gate'?)"),
        ('crossed line "out"', "rule 'a': at character 14: there is no line 'out' (there is: none)"),
        ('event "zone_entred"', "there is no earlier stage that tells of 'zone_entred' (did you mean 'zone_entered'?)"),
        ("zoens.gate > 5", "rule 'a': at character 1: there is no earlier stage 'zoens' (did you mean 'zones'?)"),
        ('person in zone "gate" for > 10', "rule 'a': at character 29: wanted a duration such as `10 s`, got 10"),
        ("objects > 3", "rule 'a': at character 1: `objects` is of frames, and this rule is about objects"),
    ],
)
def test_a_wrong_rule_is_told_when_it_is_posted(text: str, message: str) -> None:
    stages = [{"type": "detect", "name": "people", "model": "m"}, {"type": "track"}, GATE, rules(a=text)]
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline({"name": "p", "stages": stages})
    assert message in str(caught.value)
    assert caught.value.field == "stages.3.rules.0.when"


def test_clauses_about_somebody_have_no_place_in_a_rule_about_frames() -> None:
    rule = {"name": "a", "about": "frame", "when": 'in zone "gate"'}
    stages = [{"type": "detect", "name": "people", "model": "m"}, {"type": "track"}, GATE, {**rules(), "rules": [rule]}]
    with pytest.raises(InvalidPipeline, match="at character 1: wanted a field, a number, a text or a list, got in"):
        parse_pipeline({"name": "p", "stages": stages})
