from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cvpipe.colours import lab_of
from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import parse_pipeline
from cvpipe.results import FrameRecord
from tests.sequences import SIZE, Run, line, scene

RED, BLUE, BLACK = (200, 30, 40), (30, 60, 180), (20, 20, 20)
SHIRTS = {1: RED, 2: RED, 3: BLUE, 4: RED, 5: BLUE, 6: BLACK}
TEAMS = {"type": "teams", "name": "teams", "of": "people"}


def players(seconds: float = 6, first: float = 0, shirts: Mapping[int, Any] = SHIRTS) -> list[FrameRecord]:
    rng = np.random.default_rng(5)

    def shirt(track: int, time: float) -> dict[str, Any]:
        return {"shirt_colour": {"lab": (lab_of(shirts[track]) + rng.normal(0, 8, 3)).round(1).tolist(), "rgb": "#"}}

    paths = {n: line((100 * n, 200), (100 * n, 260), begin=first, stop=seconds) for n in shirts}
    return scene(paths, seconds=seconds, values=shirt)


def run(records: list[FrameRecord], stage: dict[str, Any], cuts: range | tuple[int, ...] = ()) -> Run:
    import msgpack

    from cvpipe.engine import SequenceRunner
    from cvpipe.pipeline import Segment

    stages = [
        {"type": "detect", "name": "people", "model": "m"}, {"type": "shirt_colour", "of": "people"},
        {"type": "track", "of": "people"}, stage,
    ]  # fmt: skip
    spec = parse_pipeline({"name": "p", "stages": stages})
    done: list[FrameRecord] = []
    runner = SequenceRunner(spec, Segment("sequence", "sequence", (3,)), None, size=SIZE)  # type: ignore[arg-type]
    for number, record in enumerate(records):
        if number in cuts:
            state = msgpack.unpackb(msgpack.packb(runner.state()))
            runner = SequenceRunner(spec, Segment("sequence", "sequence", (3,)), None, size=SIZE)  # type: ignore[arg-type]
            runner.restore(state)
        done += runner.run([record])
    return Run(done, runner.take_events())


def teams_of(found: Run) -> list[str | None]:
    return [found.of_track("teams", n)[-1]["team"] for n in SHIRTS]


def test_teams_are_found_out_and_a_referee_has_none() -> None:
    found = run(players(), {**TEAMS, "max_distance": 30})
    assert teams_of(found) == ["B", "B", "A", "B", "A", None]  # of groups of one size, the darker is the first
    assert found.records[29].values == {}
    assert found.value("teams", 31) == {"A": 2, "B": 3}


def test_teams_of_known_colours_are_told_at_once() -> None:
    named = {**TEAMS, "teams": [{"name": "blues", "colour": "#1e3cb4"}, {"name": "reds", "colour": "#c81e28"}]}
    found = run(players(), named)
    assert teams_of(found) == ["reds", "reds", "blues", "reds", "blues", None]
    assert found.value("teams", 10) == {"blues": 2, "reds": 3}
    assert [value["team"] for value in found.of_track("teams", 1)] == ["reds"] * 61


def test_results_do_not_depend_on_where_the_video_is_cut() -> None:
    records = players()
    whole = run(records, TEAMS)
    assert [r.to_json() for r in run(records, TEAMS, range(1, 60)).records] == [r.to_json() for r in whole.records]


def test_teams_wait_until_there_are_enough_players() -> None:
    found = run(players(shirts={1: RED}), TEAMS)
    assert all("teams" not in record.values for record in found.records)


def test_colours_that_nobody_measures_are_told() -> None:
    with pytest.raises(InvalidPipeline, match=r"no earlier `shirt_colour` stage called 'shirt_colour'; put one before"):
        parse_pipeline(
            {"name": "p", "stages": [{"type": "detect", "name": "people", "model": "m"}, {"type": "track"}, TEAMS]}
        )
