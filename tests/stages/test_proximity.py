from __future__ import annotations

from tests.sequences import line, run, same_wherever_cut, scene, stops

NEAR = {"type": "proximity", "name": "near", "of": "people", "distance": 30}
STAYS = stops((0, (300, 200)), (20, (0, 0)))


def test_a_pair_is_told_from_when_to_when_it_is_near_with_the_moment_it_is_nearest() -> None:
    records = scene({4: STAYS, 2: line((100, 210), (500, 210), stop=4)}, seconds=6)  # boxes are 20 wide
    found = same_wherever_cut(records, NEAR)
    (met,) = found.told()
    assert (met["kind"], met["tracks"], met["start"], met["end"]) == ("proximity", [2, 4], 1.5, 2.5)
    assert met["values"] == {"distance": 0.0, "seconds": 1.0}
    assert met["evidence_time"] == 1.8
    assert found.value("near", 16) == {"pairs": [[2, 4, 20.0]]}
    assert found.value("near", 0) == {"pairs": []}


def test_only_pairs_of_the_labels_wanted_count() -> None:
    paths = {1: STAYS, 2: stops((0, (320, 200)), (20, (0, 0))), 3: stops((0, (340, 200)), (20, (0, 0)))}
    records = scene(paths, seconds=1, labels={1: "person", 2: "person", 3: "car"})
    assert run(records, NEAR).value("near")["pairs"] == [[1, 2, 0.0], [2, 3, 0.0], [1, 3, 20.0]]
    mixed = run(records, {**NEAR, "between": ["car", "person"]})
    assert mixed.value("near")["pairs"] == [[2, 3, 0.0], [1, 3, 20.0]]


def test_distances_are_from_anchor_to_anchor_where_that_is_asked_for() -> None:
    records = scene({1: STAYS, 2: stops((0, (330, 240)), (20, (0, 0)))}, seconds=1)
    feet = {**NEAR, "measure": "anchors", "distance": 50}
    assert run(records, feet).value("near")["pairs"] == [[1, 2, 50.0]]
    assert run(records, {**feet, "distance": 49.9}).value("near")["pairs"] == []
    assert run(records, {**feet, "distance": 0.14, "units": "relative"}).value("near")["pairs"] == [[1, 2, 50.0]]


def test_a_brief_encounter_is_not_told() -> None:
    records = scene({1: STAYS, 2: line((100, 210), (500, 210), stop=4)}, seconds=6)
    assert run(records, {**NEAR, "seconds": 1.5}).told() == []
