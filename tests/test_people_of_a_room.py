"""Who is near what, and who wears what, on a real video: two people at a desk, one after the other, and a screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from tests.modelcards import write_yolox_card

STAGES: list[dict[str, Any]] = [
    {"type": "decimate", "fps": 1},
    {"type": "detect", "name": "all", "model": "yolox-nano", "classes": ["person", "tv"], "score": 0.3},
    {"type": "shirt_colour", "of": "all"},
    {"type": "track", "of": "all", "high": 0.3, "begin": 0.3, "lost_seconds": 2},
    {
        "type": "teams", "of": "all", "when": 'label == "person"',
        "teams": [{"name": "grey", "colour": "#606060"}, {"name": "navy", "colour": "#000020"}],
    },
    {"type": "proximity", "of": "all", "between": ["person", "tv"], "distance": 280},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("room")
    write_yolox_card(root / "models", assets)
    run_local(
        assets / "videos" / "one-by-one-person-detection.mp4", parse_pipeline({"name": "p", "stages": STAGES}),
        root / "out", settings=Settings(models_dir=root / "models", device="cpu", threads=1),
        range=TimeRange(start=15, stop=28),
    )  # fmt: skip
    return root / "out"


def test_each_wears_the_colour_that_can_be_seen(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "frames.ndjson").read_text().splitlines()]
    people = [
        (row["frame"], one["track"], one["values"]) for row in rows for one in row["objects"]
        if one["label"] == "person" and one["track"] is not None
    ]  # fmt: skip
    first, second = sorted({track for _, track, _ in people})
    assert [(frame, track) for frame, track, _ in people] == [
        *((frame, first) for frame in (150, 160, 170, 180, 190)), *((frame, second) for frame in (240, 250, 260, 270)),
    ]  # fmt: skip
    for _, track, values in people:
        red, green, blue = bytes.fromhex(values["shirt_colour"]["rgb"][1:])
        assert values["teams"]["team"] == ("grey" if track == first else "navy")
        if track == first:
            assert min(red, green, blue) > 70
            assert max(red, green, blue) < 110
        else:
            assert max(red, green) < 10
            assert 5 < blue < 40
    assert rows[0]["values"]["teams"] == {"grey": 1, "navy": 0}
    assert rows[-1]["values"]["teams"] == {"grey": 0, "navy": 1}


def test_who_stands_before_a_screen_is_told_until_they_go(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "frames.ndjson").read_text().splitlines()]
    events = [json.loads(line) for line in (folder / "events.ndjson").read_text().splitlines()]
    apart = {row["frame"]: row["values"]["proximity"]["pairs"] for row in rows}
    assert [round(apart[frame][0][2]) for frame in (150, 160, 170, 180)] == pytest.approx([271, 270, 271, 271], abs=2)
    assert [frame for frame, pairs in apart.items() if pairs] == [150, 160, 170, 180, 240]  # the next one
    event, following = events
    assert (event["kind"], event["start"], event["end"], event["is_over"]) == ("proximity", 15.0, 18.0, True)
    assert [one["label"] for one in event["objects"]] == ["person", "tv"]
    assert event["values"]["distance"] == pytest.approx(270.5, abs=2)
    assert following["tracks"] != event["tracks"]
