"""`colours` on pictures of a few colours, and against NumPy's histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.frames import Frame, View
from cvpipe.results import FrameRecord, Objects
from cvpipe.rle import Mask
from tests.stages.looking import look_at, open_stage


def flag() -> np.ndarray:
    """RGB: half white, three tenths red, two tenths blue, each with a little noise."""
    picture = np.zeros((100, 80, 3), np.int64)
    picture[:50], picture[50:80], picture[80:] = (250, 250, 250), (200, 30, 30), (20, 40, 180)
    return np.clip(picture + np.random.default_rng(4).integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)


def test_dominant_colours_are_told_with_their_shares() -> None:
    told = look_at("colours", flag(), count=3).values["colours"]["dominant"]
    assert [colour["share"] for colour in told] == [0.5, 0.3, 0.2]
    expected = [[250, 250, 250], [200, 30, 30], [20, 40, 180]]
    assert np.abs(np.array([colour["rgb"] for colour in told]) - expected).max() <= 1
    assert [colour["hex"] for colour in told] == ["#{:02x}{:02x}{:02x}".format(*colour["rgb"]) for colour in told]


def test_a_plain_picture_has_one_colour_however_many_are_asked_for() -> None:
    told = look_at("colours", np.full((20, 20, 3), (9, 130, 77), np.uint8), count=8).values["colours"]
    assert told == {"dominant": [{"hex": "#09824d", "rgb": [9, 130, 77], "share": 1.0}], "mean": [9.0, 130.0, 77.0]}


def test_two_colours_of_which_one_is_rare_are_not_merged_while_groups_are_left() -> None:
    picture = np.full((100, 100, 3), 128, np.uint8)
    picture[:2, :10] = (255, 0, 0)
    told = look_at("colours", picture, count=2).values["colours"]["dominant"]
    assert [(colour["hex"], colour["share"]) for colour in told] == [("#808080", 0.998), ("#ff0000", 0.002)]


def test_histogram_and_mean_are_numpys() -> None:
    picture = np.random.default_rng(6).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    told = look_at("colours", picture, bins=8).values["colours"]
    for channel, name in enumerate(("red", "green", "blue")):
        expected = np.bincount(picture[..., channel].ravel() // 32, minlength=8) / 1200
        assert told["histogram"][name] == pytest.approx(expected, abs=1e-6)
    assert told["mean"] == pytest.approx(picture.reshape(-1, 3).mean(axis=0), abs=0.005)


def objects_colours(mask: Mask | None, **options: Any) -> list[Any]:
    picture = np.zeros((100, 80, 3), np.uint8)
    picture[20:60, 10:50] = (0, 200, 0)
    picture[30:50, 20:40] = (200, 0, 0)
    objects = Objects.make(
        stage="things", box=[[10, 20, 50, 60], [60, 0, 80, 20]], score=[1, 1], label=["a", "b"], mask=[mask, None]
    )
    stage = open_stage("colours", of="things", count=2, **options)
    frame = Frame(0, 0, 0.0, stage.view(View.of(80, 100)), picture)
    (found,) = stage.process([frame], [objects])
    record = FrameRecord(0, 0, 0.0, objects=objects).with_found(found)
    return [[(c["hex"], c["share"]) for c in o["values"]["colours"]["dominant"]] for o in record.to_dict()["objects"]]


def test_each_object_has_the_colours_in_its_box_its_inner_part_or_its_mask() -> None:
    assert objects_colours(None) == [[("#00c800", 0.75), ("#c80000", 0.25)], [("#000000", 1.0)]]
    assert objects_colours(None, inner=0.5)[0] == [("#c80000", 1.0)]
    inside = np.zeros((100, 80), bool)
    inside[20:60, 10:20] = True
    assert objects_colours(Mask.of(inside))[0] == [("#00c800", 1.0)]
