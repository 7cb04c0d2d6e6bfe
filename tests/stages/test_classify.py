"""`classify`: the likeliest labels of frames and objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.results import Objects
from tests.picturenetworks import means, open_stage, pooled, records, seen, things

CARD = {
    "family": "classification", "task": "classification", "labels": ["red", "green", "blue"],
    "input": {"width": 64, "height": 64, "scale": 51, "resize": "stretch"},
}  # fmt: skip


def scene() -> np.ndarray:
    """The left half red, the right half green."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320, 0] = 255
    picture[:, 320:, 1] = 255
    return picture


def stage_of(folder: Path, *, card: Any = None, raw: bytes | None = None, **options: Any) -> Any:
    return open_stage(folder, "classify", raw or means(64, 64), card=CARD | (card or {}), **options)


def tops(record: dict[str, Any]) -> list[list[tuple[str, float]]]:
    values = [record["values"]] if record["values"] else [row["values"] for row in record["objects"]]
    return [[(row["label"], row["score"]) for row in value["it"]["top"]] for value in values]


def test_objects_are_named_by_what_is_in_their_boxes(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, of="things")
    found = [things([10, 10, 300, 400], [330, 10, 630, 400], [220, 0, 420, 480])]
    (record,) = records(stage.process(seen(stage, [scene()]), found), found)
    sure, rest = float(np.exp(5) / (np.exp(5) + 2)), float(1 / (np.exp(5) + 2))
    even = float(np.exp(2.5) / (2 * np.exp(2.5) + 1))
    assert tops(record)[:2] == [
        [("red", round(sure, 4)), ("green", round(rest, 4)), ("blue", round(rest, 4))],
        [("green", round(sure, 4)), ("red", round(rest, 4)), ("blue", round(rest, 4))],
    ]
    assert tops(record)[2][0] == ("red", pytest.approx(even, abs=1e-4))


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("of", [None, "things"], ids=["frame", "crop"])
def test_channels_come_in_the_order_of_the_card(tmp_path: Path, color: str, of: str | None) -> None:
    stage = stage_of(tmp_path, card={"input": CARD["input"] | {"color": color}}, of=of)
    found = [things([0, 0, 300, 480])]
    (record,) = records(stage.process(seen(stage, [np.full_like(scene(), (255, 0, 0))]), found), found)
    assert tops(record)[0][0][0] == ("red" if color == "rgb" else "blue")


def test_frames_are_named_as_a_whole(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, top=1)
    frames = seen(stage, [scene(), scene()[:, ::-1], np.full((480, 640, 3), (0, 0, 9), np.uint8)])
    found = [Objects.none()] * 3
    assert [tops(r)[0][0][0] for r in records(stage.process(frames, found), found)] == ["red", "red", "blue"]


@pytest.mark.parametrize(
    ("card", "options", "labels"),
    [
        ({}, {"top": 2}, ["red", "green"]),
        ({}, {"threshold": 0.3}, ["red", "green"]),
        ({}, {"threshold": 0.9}, []),
        ({"options": {"activation": "sigmoid"}, "score_threshold": 0.8}, {}, ["red", "green"]),
        ({"options": {"activation": "sigmoid"}, "score_threshold": 0.8}, {"threshold": 0.5}, ["red", "green", "blue"]),
        ({"labels": []}, {"top": 1}, ["0"]),
    ],
    ids=["top", "threshold", "none good enough", "several", "several, threshold", "no labels"],
)
def test_options_choose_what_is_told(card: Any, options: Any, labels: list[str], tmp_path: Path) -> None:
    stage = stage_of(tmp_path, card=card, **options)
    (record,) = records(stage.process(seen(stage, [scene()]), [Objects.none()]), [Objects.none()])
    assert [label for label, _ in tops(record)[0]] == labels


def test_a_letterbox_keeps_the_shape_of_an_object(tmp_path: Path) -> None:
    card = {"input": {"width": 64, "height": 64, "pad": 0, "scale": 51}}
    found = [things([0, 0, 160, 480])]
    for changes, mean in (({}, 5.0), (card, 5 / 3)):  # a third of the canvas is the object
        stage = stage_of(tmp_path, card=changes, of="things")
        (record,) = records(stage.process(seen(stage, [scene()]), found), found)
        score = np.exp(mean) / (np.exp(mean) + 2)
        assert tops(record)[0][0] == ("red", pytest.approx(score, abs=0.02))


def test_crops_of_all_frames_go_together(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, of="things", raw=means(64, 64, batch=4))
    found = [things([0, 0, 90, 90], [330, 0, 600, 400]), things(), things(*[[330 + n, 0, 600, 90] for n in range(70)])]
    frames = seen(stage, [scene()] * 3)
    calls: list[int] = []
    run = stage._subjects.network.run
    stage._subjects.network.run = lambda images: calls.append(len(images)) or run(images)
    together = records(stage.process(frames, found), found)
    assert calls == [64, 8]
    for frame, objects, record in zip(frames, found, together, strict=True):
        (alone,) = records(stage.process([frame], [objects]), [objects])
        assert alone["objects"] == record["objects"]


def test_a_model_for_another_task_is_refused_with_the_stage_that_runs_it(tmp_path: Path) -> None:
    card = {"family": "embedding", "task": "embedding", "labels": []}
    with pytest.raises(InvalidPipeline, match="is for embedding .*'embed' runs it"):
        stage_of(tmp_path, card=card, raw=pooled(64, 64, stride=64))
