"""`pose`: keypoints on crops and whole frames, found again in pixels of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from cvpipe.errors import InvalidPipeline
from cvpipe.frames import View
from cvpipe.results import Objects
from tests.modelcards import make_card
from tests.picturenetworks import blobs, constant, open_stage, pooled, profiles, records, seen, things

NAMES = ["red", "green", "blue"]
TALL = {"width": 96, "height": 128, "scale": 255, "pad": 0}
SPOTS = {"red": (230.0, 140.0), "green": (300.0, 180.0), "blue": (262.0, 300.0)}
BOX = [200, 100, 340, 330]


def pose_card(family: str, **changes: Any) -> dict[str, Any]:
    return {
        "family": family, "task": "pose", "labels": [], "keypoints": NAMES, "input": TALL,
    } | changes  # fmt: skip


def heatmap_stage(folder: Path, batch: Any = "batch", **options: Any) -> Any:
    return open_stage(
        folder, "pose", pooled(96, 128, stride=4, batch=batch), card=pose_card("heatmaps"), of="things", **options
    )


def keypoints(row: dict[str, Any]) -> np.ndarray:
    return np.array(row["keypoints"])


@pytest.mark.parametrize("upstream", ["plain", "cropped", "letterbox", "gray"])
def test_heatmaps_of_a_crop_are_keypoints_of_the_source(tmp_path: Path, upstream: str) -> None:
    source = View.of(640, 480, format="rgb24")
    views = {
        "plain": source,
        "cropped": source.cropped(100, 50, 400, 400),
        "letterbox": source.resized(640, 640, mode="letterbox"),
        "gray": source.with_format("gray").with_format("rgb24"),
    }
    stage = heatmap_stage(tmp_path)
    frames = seen(stage, [blobs(640, 480, **SPOTS)], views[upstream])
    found = [Objects.concat((things(BOX), things(BOX, stage="others")))]
    (record,) = records(stage.process(frames, found), found)
    first, other = record["objects"]
    assert "keypoints" not in other
    points = keypoints(first)
    # A cell is 4 pixels of the canvas, 10 of the source; its value is of all of it, its place its first pixel.
    assert points[:, :2] == pytest.approx(np.array(list(SPOTS.values())), abs=11)
    assert np.abs((points[:, :2] - list(SPOTS.values())).mean()) < 6
    assert (points[:, 2] > 0.5).all()
    assert (first["label"], first["box"], first["score"]) == ("x", BOX, 0.9)


def test_simcc_of_a_crop_is_exact_to_half_a_pixel_of_the_canvas(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, "pose", profiles(96, 128), card=pose_card("simcc"), of="things")
    found = [things(BOX)]
    (record,) = records(stage.process(seen(stage, [blobs(640, 480, **SPOTS)]), found), found)
    # The crop of 1.25 times the box is 287 pixels high on a canvas of 128: a pixel is 2.25 of the source.
    assert keypoints(record["objects"][0])[:, :2] == pytest.approx(np.array(list(SPOTS.values())), abs=2.5)


@pytest.mark.parametrize("shrunk", [1, 2, 3])
def test_a_keypoint_is_the_middle_of_the_pixel_that_the_network_names(tmp_path: Path, shrunk: int) -> None:
    """Whatever the crop's size: pixel 40 of the canvas shows the pixels from 40 times `shrunk` on of the crop."""
    stage = open_stage(tmp_path, "pose", profiles(96, 128, split=1), card=pose_card("simcc"), of="things", grow=1.0)
    picture = np.zeros((480, 640, 3), np.uint8)
    x, y = 100 + 40 * shrunk, 50 + 70 * shrunk
    picture[y : y + shrunk, x : x + shrunk] = 255
    found = [things([100, 50, 100 + 96 * shrunk, 50 + 128 * shrunk])]
    (record,) = records(stage.process(seen(stage, [picture]), found), found)
    assert keypoints(record["objects"][0])[:, :2] == pytest.approx(np.array([[x + shrunk / 2, y + shrunk / 2]] * 3))


@pytest.mark.parametrize("batch", ["batch", 1, 4], ids=["free", "one", "four"])
def test_crops_of_all_frames_go_together_and_come_out_as_alone(tmp_path: Path, batch: Any) -> None:
    stage = heatmap_stage(tmp_path, batch)
    spots = [{name: (x + 20 * n, y) for name, (x, y) in SPOTS.items()} for n in range(3)]
    frames = seen(stage, [blobs(640, 480, **some) for some in spots])
    found = [things(BOX, [0, 0, 90, 200]), things(), things([250, 80, 400, 360], BOX, [600, 400, 700, 520])]
    calls: list[int] = []
    run = stage._subjects.network.run
    stage._subjects.network.run = lambda images: calls.append(len(images)) or run(images)
    together = records(stage.process(frames, found), found)
    assert calls == [5]
    alone = [records(stage.process([f], [o]), [o])[0]["objects"] for f, o in zip(frames, found, strict=True)]
    assert [record["objects"] for record in together] == alone
    assert [len(objects) for objects in alone] == [2, 0, 3]
    assert all("keypoints" in row for objects in alone for row in objects)


def test_an_object_off_the_picture_has_no_keypoints(tmp_path: Path) -> None:
    stage = heatmap_stage(tmp_path)
    upstream = View.of(640, 480, format="rgb24").cropped(0, 0, 200, 200)
    found = [things([300, 300, 400, 400])]
    (record,) = records(stage.process(seen(stage, [blobs(640, 480)], upstream), found), found)
    assert "keypoints" not in record["objects"][0]


def test_a_network_for_one_person_sees_the_whole_frame_without_of(tmp_path: Path) -> None:
    stage = open_stage(
        tmp_path, "pose", profiles(96, 128), card=pose_card("simcc", labels=["thing"]), score=0.2
    )  # fmt: skip
    frames = seen(stage, [blobs(640, 480, **SPOTS), blobs(640, 480)])
    first, nothing = records(stage.process(frames, [Objects.none()] * 2), [Objects.none()] * 2)
    (row,) = first["objects"]
    assert (row["stage"], row["label"], row["class_id"]) == ("it", "thing", 0)
    assert keypoints(row)[:, :2] == pytest.approx(np.array(list(SPOTS.values())), abs=7)
    assert row["box"] == pytest.approx([230, 140, 300, 300], abs=7)
    assert nothing["objects"] == []


@pytest.mark.parametrize(
    "dtype", [TensorProto.INT32, TensorProto.UINT8, TensorProto.FLOAT], ids=["int32", "uint8", "float"]
)
def test_movenet_takes_pixels_as_they_are(tmp_path: Path, dtype: int) -> None:
    table = np.zeros((1, 17, 3), np.float32)
    table[0] = [0.5, 0.25, 0.8]
    card = make_card(family="movenet", task="pose", labels=[], keypoints="coco",
                     input={"width": 192, "height": 192, "layout": "nhwc"})  # fmt: skip
    raw = constant(table, width=192, height=192, dtype=dtype, nhwc=True)
    stage = open_stage(tmp_path, "pose", raw, card={k: v for k, v in card.items() if k != "sha256"})
    (record,) = records(stage.process(seen(stage, [blobs(640, 480)]), [Objects.none()]), [Objects.none()])
    (row,) = record["objects"]
    assert row["label"] == "person"
    assert keypoints(row) == pytest.approx(np.array([[160, 240, 0.8]] * 17), abs=0.01)


def test_a_network_that_finds_people_itself_gives_objects(tmp_path: Path) -> None:
    rows = np.zeros((6, 56), np.float32)
    rows[2, :51] = np.tile([0.5, 0.25, 0.8], 17)
    rows[2, 51:] = [0.25, 0.0, 0.75, 0.5, 0.9]
    card = {"family": "movenet-multi", "task": "pose", "labels": ["person"], "keypoints": "coco",
            "input": {"width": 256, "height": 256, "layout": "nhwc", "resize": "stretch"}}  # fmt: skip
    raw = constant(rows, width=256, height=256, dtype=TensorProto.INT32, nhwc=True)
    stage = open_stage(tmp_path, "pose", raw, card=card)
    (record,) = records(stage.process(seen(stage, [blobs(640, 480)]), [Objects.none()]), [Objects.none()])
    (row,) = record["objects"]
    assert (row["label"], row["box"], row["score"]) == ("person", [0, 120, 320, 360], 0.9)
    assert keypoints(row) == pytest.approx(np.array([[160, 240, 0.8]] * 17), abs=0.01)
    with pytest.raises(InvalidPipeline, match="finds what it tells the keypoints of by itself: leave `of` out"):
        open_stage(tmp_path, "pose", of="things")


def test_a_model_for_another_task_is_refused_with_the_stage_that_runs_it(tmp_path: Path) -> None:
    card = {"family": "classification", "task": "classification", "labels": NAMES}
    with pytest.raises(InvalidPipeline, match="is for classification .*'classify' runs it") as caught:
        open_stage(tmp_path, "pose", pooled(64, 64, stride=64), card=card)
    assert caught.value.field == "it.model"


def test_of_is_a_reference_and_adds_no_objects(tmp_path: Path) -> None:
    stage = heatmap_stage(tmp_path)
    assert (stage.references(), stage.finds_objects, stage.models()) == (("things",), False, ("tiny",))
