"""`parse`: parts of people, on the frame and on each person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.inference.labels import LIP
from cvpipe.results import Objects
from cvpipe.rle import Mask
from tests.people import Room
from tests.picturenetworks import open_stage, pooled, records, seen, things

CARD = {
    "family": "multi-label-map", "task": "human-parsing", "labels": ["top", "left", "both"],
    "input": {"width": 64, "height": 64, "scale": 255, "resize": "stretch"},
}  # fmt: skip


def person() -> np.ndarray:
    """A person at 200..300, 100..300: the top half is red, the left half green, so that they overlap."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[100:200, 200:300, 0] = 255
    picture[100:300, 200:250, 1] = 255
    return picture


def parts_of(record: dict[str, Any], place: int | None = None) -> dict[str, Any]:
    values = record["values"] if place is None else record["objects"][place]["values"]
    return {row["label"]: row for row in values["it"]["parts"]}


def corners(row: dict[str, Any]) -> list[int]:
    ys, xs = np.nonzero(Mask.from_dict(row["mask"]).pixels())
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def test_parts_of_a_crop_may_overlap_and_are_masks_of_the_frame(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, "parse", pooled(64, 64, stride=2), card=CARD, of="things", grow=1)
    found = [things([200, 100, 300, 300], [400, 100, 500, 300])]
    (record,) = records(stage.process(seen(stage, [person()]), found), found)
    parts = parts_of(record, 0)
    assert sorted(parts) == ["left", "top"]
    assert corners(parts["top"]) == pytest.approx([200, 100, 300, 200], abs=2)
    assert corners(parts["left"]) == pytest.approx([200, 100, 250, 300], abs=2)
    assert [row["label"] for row in record["objects"][0]["values"]["it"]["parts"]] in (["top", "left"], ["left", "top"])
    assert parts["top"]["area"] == pytest.approx(10000 / 307200, rel=0.03)
    assert parts_of(record, 1) == {}
    assert record["values"] == {}


def test_parts_beyond_the_box_are_seen_where_the_crop_is_grown(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, "parse", pooled(64, 64, stride=2), card=CARD, of="things", grow=2)
    found = [things([225, 150, 275, 250])]
    (record,) = records(stage.process(seen(stage, [person()]), found), found)
    assert corners(parts_of(record, 0)["top"]) == pytest.approx([200, 100, 300, 200], abs=2)


def test_on_the_frame_they_are_values(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, "parse", pooled(64, 64, stride=1), card=CARD)
    (record,) = records(stage.process(seen(stage, [person()]), [Objects.none()]), [Objects.none()])
    assert corners(parts_of(record)["top"]) == pytest.approx([200, 100, 300, 200], abs=8)


@pytest.mark.parametrize(("threshold", "labels"), [(0.45, ["left", "top"]), (0.55, [])])
def test_the_threshold_decides(tmp_path: Path, threshold: float, labels: list[str]) -> None:
    stage = open_stage(tmp_path, "parse", pooled(64, 64, stride=2), card=CARD, of="things", threshold=threshold)
    found = [things([200, 100, 300, 300])]
    (record,) = records(stage.process(seen(stage, [person() // 2]), found), found)
    assert sorted(parts_of(record, 0)) == labels


def test_softmax_maps_have_one_part_for_each_pixel_and_no_background(tmp_path: Path) -> None:
    card = CARD | {"family": "semantic-map", "labels": ["top", "background", "never"]}
    stage = open_stage(tmp_path, "parse", pooled(64, 64, stride=2), card=card, of="things", grow=1)
    found = [things([200, 100, 300, 300])]
    (record,) = records(stage.process(seen(stage, [person()]), found), found)
    # Where both are equally bright the first label wins; green alone is the background here, black is a tie too.
    ((label, row),) = parts_of(record, 0).items()
    assert label == "top"
    pixels = Mask.from_dict(row["mask"]).pixels()
    assert (pixels[150, 225], pixels[150, 275], pixels[250, 225]) == (True, True, False)


def test_label_sets_of_parsing_have_names(tmp_path: Path) -> None:
    card = CARD | {"family": "semantic-map", "labels": "lip"}
    with pytest.raises(ValueError, match=r"semantic-map with 20 labels has an output of shape \(20, h, w\)"):
        open_stage(tmp_path, "parse", pooled(64, 64, stride=2), card=card)
    assert (LIP[0], LIP[5], LIP[14], len(LIP)) == ("background", "upper clothes", "left arm", 20)


@pytest.mark.parametrize(
    ("card", "options", "words"),
    [
        ({}, {"parts": ["lef"]}, "knows no part 'lef'; did you mean 'left'"),
        ({"task": "semantic-segmentation"}, {}, "'segment' runs it"),
    ],
    ids=["part", "task"],
)
def test_what_does_not_fit_is_told(card: Any, options: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline, match=words):
        open_stage(tmp_path, "parse", pooled(64, 64, stride=2), card=CARD | card, **options)


def test_a_trained_network_tells_skin_clothes_and_hair_apart(assets: Path, tmp_path: Path) -> None:
    room = Room(assets, tmp_path)
    stage = room.open("parse", model="skin-clothes-hair", of="detect")
    numbers = [310, 510]  # a man in dark clothes, seen from behind; a woman with long fair hair
    people = [room.people(number) for number in numbers]
    man, woman = (record["objects"][0]["values"]["parse"]["parts"] for record in room.look(stage, numbers, people))
    areas = [{row["label"]: row["area"] for row in parts} for parts in (man, woman)]
    assert areas[0] == pytest.approx({"clothes": 0.0830, "skin": 0.0107, "hair": 0.0013}, abs=0.001)
    assert areas[1] == pytest.approx({"hair": 0.0729, "clothes": 0.0542, "skin": 0.0036}, abs=0.001)
    hair = np.nonzero(Mask.from_dict(woman[0]["mask"]).pixels())
    clothes = np.nonzero(Mask.from_dict(woman[1]["mask"]).pixels())
    assert hair[0].mean() < clothes[0].mean() - 60
