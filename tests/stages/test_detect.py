"""`detect` on real video with a real network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.errors import InvalidModel, InvalidPipeline, NotFound
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Objects
from cvpipe.stages.detect import Detect, DetectOptions
from tests.modelcards import make_card, table_network, write_card, write_yolox_card

SOURCE = View.of(768, 432)
SQUARE = SOURCE.resized(416, 416, mode="letterbox", anchor="top-left")


@pytest.fixture(scope="module")
def models_dir(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    write_yolox_card(models, assets)
    return models


@pytest.fixture(scope="module")
def tools(models_dir: Path) -> OnnxTools:
    return OnnxTools(models_dir, device="cpu")


def open_stage(tools: OnnxTools, **options: Any) -> Detect:
    stage = Detect(DetectOptions(**{"name": "people", "model": "yolox-nano"} | options))
    stage.open(tools)
    return stage


def on_canvas(picture: av.VideoFrame, view: View) -> np.ndarray:
    """The picture as the decoder lays it on the view's canvas."""
    x, y, width, height = view.content
    canvas = np.full(view.shape, view.pad, np.uint8)
    canvas[y : y + height, x : x + width] = picture.reformat(width, height, "bgr24").to_ndarray()
    return canvas


@pytest.fixture(scope="module")
def every_tenth(assets: Path) -> list[av.VideoFrame]:
    """Frames 0, 10, 20 ... of the room with people: each is a keyframe."""
    with av.open(str(assets / "videos" / "one-by-one-person-detection.mp4")) as container:
        container.streams.video[0].codec_context.skip_frame = "NONKEY"
        return list(container.decode(video=0))


def look(stage: Detect, pictures: list[av.VideoFrame], view: View) -> Iterator[Objects]:
    for number, picture in enumerate(pictures):
        (found,) = stage.process([Frame(number, number, 0.0, view, on_canvas(picture, view))], [Objects.none()])
        assert found.added is not None
        yield found.added


def test_people_are_seen_where_they_are(tools: OnnxTools, every_tenth: list[av.VideoFrame]) -> None:
    stage = open_stage(tools, classes=["person"])
    view = stage.view(SOURCE)
    assert (view.width, view.height) == (416, 256)
    seen = [len(objects) > 0 for objects in look(stage, every_tenth, view)]
    assert (sum(seen), len(seen)) == (104, 140)


def test_the_small_canvas_finds_what_the_square_one_finds(tools: OnnxTools, every_tenth: list[av.VideoFrame]) -> None:
    stage = open_stage(tools, classes=["person"])
    some = every_tenth[::5]
    pairs = list(zip(look(stage, some, stage.view(SOURCE)), look(stage, some, SQUARE), strict=True))
    assert [len(small) for small, _ in pairs] == [len(full) for _, full in pairs]
    assert sum(len(small) for small, _ in pairs) > 15
    overlaps = [iou(a, b) for small, full in pairs for a, b in zip(small.box, full.box, strict=True)]
    assert min(overlaps) > 0.95


def iou(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


def test_a_found_object_has_all_its_facts(tools: OnnxTools, every_tenth: list[av.VideoFrame]) -> None:
    stage = open_stage(tools)
    rows = [row for objects in look(stage, every_tenth[20:40], stage.view(SOURCE)) for row in objects.to_dicts()]
    people = [row for row in rows if row["label"] == "person"]
    assert people
    assert {row["stage"] for row in rows} == {"people"}
    assert {row["class_id"] for row in people} == {0}
    assert all(0.4 <= row["score"] <= 1 and row["track"] is None and row["text"] is None for row in rows)
    assert all(0 <= row["box"][0] < row["box"][2] <= 768 and 0 <= row["box"][1] < row["box"][3] <= 432 for row in rows)


def tiny_stage(folder: Path, **options: Any) -> Detect:
    """A detector of 64x64 pixels that always finds four things on a 128x64 frame, one of them in the padding."""
    table = np.zeros((7, 6), np.float32)
    table[:, 0] = [10, 26, 8, 8, 0.9, 0, 0]
    table[:, 1] = [30, 26, 8, 8, 0, 0.8, 0]
    table[:, 2] = [50, 26, 8, 8, 0, 0, 0.7]
    table[:, 3] = [30, 5, 8, 8, 0.95, 0, 0]
    table[:, 4] = [14, 26, 8, 8, 0.6, 0, 0]
    write_card(folder, table_network(table))
    stage = Detect(DetectOptions(name="things", model="tiny", **options))
    stage.open(OnnxTools(folder, device="cpu"))
    return stage


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["cat 0.9", "dog 0.8", "bird 0.7", "cat 0.6"]),
        ({"score": 0.75}, ["cat 0.9", "dog 0.8"]),
        ({"score": 0.0, "classes": ["bird"]}, ["bird 0.7"]),
        ({"classes": ["dog", "cat"]}, ["cat 0.9", "dog 0.8", "cat 0.6"]),
        ({"max_objects": 2}, ["cat 0.9", "dog 0.8"]),
        ({"iou": 0.3}, ["cat 0.9", "dog 0.8", "bird 0.7"]),
    ],
    ids=["the card's", "score", "one class", "two classes", "the best two", "overlap"],
)
def test_options_choose_what_is_kept(options: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, **options)
    view = stage.view(View.of(128, 64))
    (found,) = stage.process([Frame(0, 0, 0.0, view, np.zeros(view.shape, np.uint8))], [Objects.none()])
    assert found.added is not None
    assert [f"{row['label']} {row['score']}" for row in found.added.to_dicts()] == expected


def test_an_unknown_class_is_told_with_the_nearest(tools: OnnxTools) -> None:
    with pytest.raises(InvalidPipeline, match="knows no class 'persn'; did you mean 'person'") as caught:
        open_stage(tools, classes=["person", "persn"])
    assert caught.value.field == "people.classes"


def test_an_unknown_model_is_told(tools: OnnxTools) -> None:
    with pytest.raises(NotFound, match="did you mean 'yolox-nano'"):
        open_stage(tools, model="yolo-nano")


def test_a_network_of_another_family_is_refused(assets: Path, tmp_path: Path) -> None:
    raw = (assets / "models" / "yolox_nano.onnx").read_bytes()
    card = make_card(raw, labels="coco", input={"width": 416, "height": 416})
    write_card(tmp_path, raw, **card)
    with pytest.raises(InvalidModel, match=r"this network has \[\(3549, 85\)\]"):
        open_stage(OnnxTools(tmp_path, device="cpu"), model="tiny")


def test_networks_are_loaded_once_and_told(tools: OnnxTools) -> None:
    assert tools.network("yolox-nano") is tools.network("yolox-nano@1")
    assert tools.used_models() == {"yolox-nano@1": "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14"}
