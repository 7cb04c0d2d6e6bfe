"""`motion` on a drawn scene: a square that crosses a noisy background, with its shadow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.results import Found, FrameRecord
from cvpipe.rle import Mask
from tests.stages.looking import open_stage, show

FRAMES = 45
PATTERN = np.random.default_rng(99).integers(-40, 41, (20, 24, 3))


def left_at(number: int) -> int:
    return 10 + 4 * (number - 30)


def scene(number: int) -> np.ndarray:
    """BGR, 90x160: from frame 30 on a patterned thing of 24x20 pixels that moves by 4, with a shadow below it."""
    picture = np.full((90, 160, 3), (110, 130, 150), np.float64)
    if number >= 30:
        left = left_at(number)
        picture[30:50, left : left + 24] = np.array((40, 40, 210)) + PATTERN
        picture[50:60, left : left + 24] *= 0.65
    noise = np.random.default_rng(number).normal(0, 1.5, picture.shape)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


def look(first: int = 0, stop: int = FRAMES, **options: Any) -> list[FrameRecord]:
    stage = open_stage("motion", **options)
    return [record(n, found) for n, found in enumerate(show(stage, [scene(n) for n in range(first, stop)]), first)]


def record(number: int, found: Found) -> FrameRecord:
    return FrameRecord.unpack(FrameRecord(number, number, number / 25).with_found(found).pack())


@pytest.mark.parametrize("method", ["mog2", "knn"])
def test_what_moves_is_an_object_without_its_shadow(method: str) -> None:
    records = look(method=method)
    assert all(not len(r.objects) for r in records[:30])
    for number, told in list(enumerate(records))[32:]:
        (moving,) = told.to_dict()["objects"]
        left = left_at(number)
        assert moving["box"] == pytest.approx([left, 30, left + 24, 50], abs=2)
        assert moving["label"] == "moving"
        assert moving["values"]["motion"]["area"] == pytest.approx(480, rel=0.1)
        assert Mask.from_dict(moving["mask"]).pixels()[30:50, left : left + 24].mean() > 0.95
        assert told.values["motion"]["moving"] == pytest.approx(480 / 14400, abs=0.004)
        assert told.values["motion"]["shadow"] == pytest.approx(240 / 14400, abs=0.004)


def test_with_shadows_taken_as_motion_the_object_is_taller() -> None:
    (moving,) = look(stop=40, shadows=False)[-1].to_dict()["objects"]
    assert moving["box"] == pytest.approx([46, 30, 70, 60], abs=2)


def test_while_it_learns_nothing_is_told() -> None:
    values = [r.values["motion"] for r in look(stop=12, learn=10)]
    assert values[9] == {"moving": None, "shadow": None, "learning": True}
    assert values[10]["learning"] is False
    assert values[10]["moving"] == pytest.approx(0, abs=0.001)


def test_a_stage_that_is_handed_the_state_goes_on_as_if_nothing_had_happened() -> None:
    first = open_stage("motion")
    show(first, [scene(n) for n in range(40)])
    second = open_stage("motion")
    second.restore(first.state())
    pictures = [scene(n) for n in range(40, 44)]
    handed = [record(n, f).to_json() for n, f in enumerate(show(second, pictures), 40)]
    assert handed == [r.to_json() for r in look(stop=44)[40:]]


def test_boxes_and_areas_are_in_source_pixels() -> None:
    stage = open_stage("motion")
    view = View.of(320, 180).resized(160, 90)
    (found,) = show(stage, [scene(n) for n in range(40)], view=view)[-1:]
    (moving,) = record(39, found).to_dict()["objects"]
    assert moving["box"] == pytest.approx([92, 60, 140, 100], abs=4)
    assert moving["values"]["motion"]["area"] == pytest.approx(1920, rel=0.1)
