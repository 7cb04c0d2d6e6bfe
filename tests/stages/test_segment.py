"""`segment`: classes of the frame, in pixels of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.frames import View
from cvpipe.results import Objects
from cvpipe.rle import Mask
from tests.people import Room
from tests.picturenetworks import open_stage, pooled, records, seen

NAMES = ["background", "green", "blue"]
SOURCE = View.of(640, 480, format="rgb24")


def scene() -> np.ndarray:
    """Red everywhere, but for a green and a smaller blue rectangle."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[..., 0] = 200
    picture[80:320, 160:480] = (0, 200, 0)
    picture[360:440, 480:600] = (0, 0, 200)
    return picture


def map_stage(folder: Path, raw: bytes | None = None, card: Any = None, **options: Any) -> Any:
    given = {"family": "semantic-map", "task": "semantic-segmentation", "labels": NAMES}
    return open_stage(folder, "segment", raw or pooled(64, 64, stride=4), card=given | (card or {}), **options)


def look(stage: Any, upstream: View = SOURCE) -> list[dict[str, Any]]:
    """The classes on the scene."""
    (record,) = records(stage.process(seen(stage, [scene()], upstream), [Objects.none()]), [Objects.none()])
    assert record["objects"] == []
    rows: list[dict[str, Any]] = record["values"]["it"]["classes"]
    return rows


def corners(row: dict[str, Any]) -> list[int]:
    """x1, y1, x2, y2 of a mask that is a full rectangle."""
    pixels = Mask.from_dict(row["mask"]).pixels()
    assert pixels.shape == (480, 640)
    ys, xs = np.nonzero(pixels)
    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    assert pixels.sum() == (x2 - x1) * (y2 - y1)
    return [int(x1), int(y1), int(x2), int(y2)]


LAYOUTS = {
    "nchw logits": (pooled(64, 64, stride=4), {}),
    "nhwc logits": (pooled(64, 64, stride=4, nhwc=True), {"input": {"width": 64, "height": 64, "layout": "nhwc"}}),
    "argmax": (pooled(64, 64, stride=4, to="argmax"), {}),
    "stretched": (pooled(64, 64, stride=4), {"input": {"width": 64, "height": 64, "resize": "stretch"}}),
    "one at a time": (pooled(64, 64, stride=4, batch=1), {}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_masks_of_the_source(layout: str, tmp_path: Path) -> None:
    raw, changes = LAYOUTS[layout]
    rows = look(map_stage(tmp_path, raw, changes))
    # A cell is 40 pixels of the source (10 by 7.5 canvas pixels a cell where stretched).
    assert [row["label"] for row in rows] == ["green", "blue"]
    assert corners(rows[0]) == pytest.approx([160, 80, 480, 320], abs=20)
    assert corners(rows[1]) == pytest.approx([480, 360, 600, 440], abs=20)
    assert [row["area"] for row in rows] == [
        round(Mask.from_dict(row["mask"]).area / (640 * 480), 6) for row in rows
    ]  # fmt: skip


def test_masks_through_a_crop_lie_where_they_are(tmp_path: Path) -> None:
    rows = look(map_stage(tmp_path), SOURCE.cropped(120, 40, 320, 320))
    assert [row["label"] for row in rows] == ["green"]
    assert corners(rows[0]) == pytest.approx([160, 80, 440, 320], abs=10)


@pytest.mark.parametrize(
    ("options", "labels"),
    [({"classes": ["blue"]}, ["blue"]), ({"classes": ["background", "blue"]}, ["background", "blue"])],
    ids=["one", "the background too"],
)
def test_only_the_classes_asked_for(options: dict[str, Any], labels: list[str], tmp_path: Path) -> None:
    assert [row["label"] for row in look(map_stage(tmp_path, **options))] == labels


def test_maps_of_several_labels_have_a_threshold(tmp_path: Path) -> None:
    card = {"family": "multi-label-map", "input": {"width": 64, "height": 64, "scale": 255}}
    assert [r["label"] for r in look(map_stage(tmp_path, card=card, score=0.7))] == ["green", "blue"]
    assert look(map_stage(tmp_path, card=card, score=0.9)) == []


@pytest.mark.parametrize(
    ("card", "options", "words", "field"),
    [
        ({}, {"classes": ["gren"]}, "knows no class 'gren'; did you mean 'green'", "it.classes"),
        ({"task": "human-parsing"}, {}, "is for human-parsing .*'parse' runs it", "it.model"),
        ({"family": "classification", "task": "classification"}, {}, "'classify' runs it", "it.model"),
    ],
    ids=["class", "parsing", "classification"],
)
def test_what_does_not_fit_is_told(
    card: dict[str, Any], options: dict[str, Any], words: str, field: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidPipeline, match=words) as caught:
        map_stage(tmp_path, card=card, **options)
    assert caught.value.field == field


def test_a_model_of_instances_gives_objects(tmp_path: Path) -> None:
    # Two prototypes of masks, the left and the right half of the canvas, and one person that is on the left.
    table = np.zeros((4 + 1 + 2, 84), np.float32)
    table[:, 5] = [32, 32, 32, 32, 0.9, 8, -8]
    prototypes = np.zeros((2, 16, 16), np.float32)
    prototypes[0, :, :8] = prototypes[1, :, 8:] = 1
    stage = open_stage(
        tmp_path, "segment", two_tables(table, prototypes), score=0.5,
        card={"family": "ultralytics-seg", "task": "instance-segmentation", "labels": ["person"]},
    )  # fmt: skip
    (record,) = records(stage.process(seen(stage, [scene()]), [Objects.none()]), [Objects.none()])
    (row,) = record["objects"]
    assert (row["stage"], row["label"], row["box"]) == ("it", "person", [160, 80, 480, 400])
    assert corners(row) == pytest.approx([160, 80, 320, 400], abs=11)


def two_tables(first: np.ndarray, second: np.ndarray) -> bytes:
    from onnx import helper

    from tests.picturenetworks import network

    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "first"], ["output0"]),
        helper.make_node("Add", ["zero", "second"], ["output1"]),
    ]
    weights = {"nothing": np.float32(0), "first": first[None], "second": second[None]}
    outputs = {"output0": [1, *first.shape], "output1": [1, *second.shape]}
    return network(nodes, picture=[1, 3, 64, 64], outputs=outputs, weights=weights)


def test_a_trained_network_sees_the_person(assets: Path, tmp_path: Path) -> None:
    room = Room(assets, tmp_path)
    stage = room.open("segment", model="deeplab-voc")
    empty, one, another = (record["values"]["segment"]["classes"] for record in room.look(stage, [0, 300, 320]))
    assert "person" not in [row["label"] for row in empty]
    assert [row["label"] for row in one] == ["person"]
    assert one[0]["area"] == pytest.approx(0.0861, abs=0.002)
    assert another[0]["area"] == pytest.approx(0.0861, abs=0.01)
    pixels = Mask.from_dict(one[0]["mask"]).pixels()
    x1, y1, x2, y2 = room.people(300).box[0].astype(int).tolist()
    assert pixels[y1:y2, x1:x2].sum() / pixels.sum() > 0.85
