"""Ultralytics' export: a table of centres, sizes and class scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import Frame, View
from cvpipe.inference import ModelCard, OnnxTools
from cvpipe.inference.labels import COCO
from cvpipe.models import Limits
from cvpipe.models.ultralytics_yolo import UltralyticsYolo
from cvpipe.stages.detect import Detect, DetectOptions
from tests.modelcards import make_card, table_network, write_card

CARD = ModelCard.model_validate(make_card())
CELLS = 8400  # of 640x640 at strides 8, 16 and 32


def make_table() -> np.ndarray:
    """(84, 8400) with three things on it, one of them seen twice."""
    table = np.zeros((84, CELLS), np.float32)
    table[:4] = np.array([[320], [320], [10], [10]])
    for cell, (centre_x, centre_y, width, height, label, score) in {
        10: (100, 200, 50, 80, 0, 0.9),
        11: (102, 201, 50, 80, 0, 0.8),
        500: (100, 200, 50, 80, 16, 0.7),
        8399: (600, 300, 100, 40, 2, 0.6),
        42: (300, 300, 20, 20, 2, 0.2),
    }.items():
        table[:4, cell] = centre_x, centre_y, width, height
        table[4 + label, cell] = score
    return table


def test_a_table_becomes_boxes_best_first() -> None:
    (boxes,) = UltralyticsYolo().decode([(make_table(),)], [View.of(640, 640)], CARD, Limits(score=0.5, iou=0.45))
    assert boxes.box.tolist() == [[75, 160, 125, 240], [75, 160, 125, 240], [550, 280, 650, 320]]
    assert boxes.score == pytest.approx([0.9, 0.7, 0.6])
    assert [COCO[i] for i in boxes.class_id] == ["person", "dog", "car"]


def test_nothing_above_the_threshold_is_nothing() -> None:
    (boxes,) = UltralyticsYolo().decode([(make_table(),)], [View.of(640, 640)], CARD, Limits(score=0.95, iou=0.5))
    assert len(boxes) == 0


def test_a_real_graph_of_that_layout_detects_in_source_pixels(tmp_path: Path) -> None:
    raw = table_network(make_table(), width=640, height=640)
    write_card(tmp_path, raw, labels="coco", input={"width": 640, "height": 640, "scale": 255, "anchor": "centre"})
    stage = Detect(DetectOptions(name="things", model="tiny"))
    stage.open(OnnxTools(tmp_path, device="cpu"))
    view = stage.view(View.of(1280, 720))
    assert view.content == (0, 140, 640, 360)
    (found,) = stage.process([Frame(0, 0, 0.0, view, np.zeros(view.shape, np.uint8))], [])
    assert found.added is not None
    assert [(row["label"], row["box"]) for row in found.added.to_dicts()] == [
        ("person", [150.0, 40.0, 250.0, 200.0]),
        ("dog", [150.0, 40.0, 250.0, 200.0]),
        ("car", [1100.0, 280.0, 1280.0, 360.0]),
    ]


@pytest.mark.parametrize("shapes", [[(84, 85)], [(6, 8400)], [(300, 6)], [(84,)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card())
    with pytest.raises(InvalidModel, match=r"3 labels has one output of shape \(7, cells\).*export it without NMS"):
        UltralyticsYolo().check(shapes, card)
    UltralyticsYolo().check([(7, 84)], card)
