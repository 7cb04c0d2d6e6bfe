"""`depth`: how far away things are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.results import Objects
from tests.picturenetworks import constant, means, open_stage, pooled, records, seen, things

CARD = {"family": "depth-map", "task": "depth", "labels": [], "input": {"width": 64, "height": 64, "pad": 0}}


def scene() -> np.ndarray:
    """Far is dark: 40 on the left, 200 on the right, a strip of 90 below."""
    picture = np.full((480, 640, 3), 40, np.uint8)
    picture[:, 320:] = 200
    picture[400:] = 90
    return picture


def look(folder: Path, found: Objects, *, card: Any = None, raw: bytes | None = None, **options: Any) -> dict[str, Any]:
    raw = raw or pooled(64, 64, stride=2, to="first")
    stage = open_stage(folder, "depth", raw, card=CARD | (card or {}), **options)
    return records(stage.process(seen(stage, [scene()]), [found]), [found])[0]


def test_a_frame_is_summed_up_without_its_padding(tmp_path: Path) -> None:
    assert look(tmp_path, Objects.none())["values"]["it"] == {"min": 40, "median": 90, "max": 200, "unit": None}


def test_boxes_get_the_median_inside_them(tmp_path: Path) -> None:
    found = Objects.concat((
        things([20, 20, 200, 200], [400, 20, 600, 390], [100, 410, 500, 480], [150, 50, 152, 52]),
        things([20, 20, 200, 200], stage="others"),
    ))  # fmt: skip
    record = look(tmp_path, found, of="things")
    assert [row.get("values") for row in record["objects"]] == [
        *({"it": {"median": value}} for value in (40, 200, 90, 40)),
        None,
    ]
    assert record["values"]["it"]["max"] == 200


def test_metres_are_told_as_such(tmp_path: Path) -> None:
    card = {"options": {"metric": True, "per_metre": 10}}
    assert look(tmp_path, Objects.none(), card=card)["values"]["it"] == {
        "min": 4, "median": 9, "max": 20, "unit": "metre",
    }  # fmt: skip


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    table = np.full((8, 8), np.nan, np.float32)
    raw = constant(table, width=64, height=64)
    nothing = {"min": None, "median": None, "max": None, "unit": None}
    assert look(tmp_path, Objects.none(), raw=raw)["values"]["it"] == nothing
    table[4] = 3
    assert look(tmp_path, Objects.none(), raw=constant(table, width=64, height=64))["values"]["it"]["median"] == 3


def test_a_model_for_another_task_is_refused_with_the_stage_that_runs_it(tmp_path: Path) -> None:
    card = {"family": "classification", "task": "classification"}
    with pytest.raises(InvalidPipeline, match="'classify' runs it"):
        look(tmp_path, Objects.none(), card=card, raw=means(64, 64))
