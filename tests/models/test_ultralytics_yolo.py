"""Ultralytics' exports of detectors: tables of three layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.inference.labels import COCO
from cvpipe.models import Boxes, Limits
from cvpipe.models.ultralytics_yolo import UltralyticsYolo
from tests.modelcards import facts, make_card

CELLS = 8400  # of 640x640 at strides 8, 16 and 32
COCO_CARD = ModelCard.model_validate(make_card(labels="coco"))

# What version 8.4.190 of the exporter writes for 80 classes at 320x256 (width x height), without the batch dimension.
EXPORTED = {
    "yolov8n": (84, 1680),
    "yolov9t": (84, 1680),
    "yolov10n": (84, 1680),
    "yolo11n": (84, 1680),
    "yolo12n": (84, 1680),
    "yolo26n": (84, 1680),
    "yolov8n nms=True": (300, 6),
    "yolov10n nms=False": (300, 6),
    "yolo26n nms=False": (300, 6),
    "yolov5n of its own repository": (5040, 85),
}


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


def decode(*tables: np.ndarray, score: float = 0.5) -> list[Boxes]:
    outputs = [(table,) for table in tables]
    return UltralyticsYolo().decode(
        outputs, [View.of(640, 640)] * len(tables), COCO_CARD, Limits(score=score, iou=0.45)
    )


def test_a_table_becomes_boxes_best_first() -> None:
    (boxes,) = decode(make_table())
    assert boxes.box.tolist() == [[75, 160, 125, 240], [75, 160, 125, 240], [550, 280, 650, 320]]
    assert boxes.score == pytest.approx([0.9, 0.7, 0.6])
    assert [COCO[i] for i in boxes.class_id] == ["person", "dog", "car"]


def test_nothing_above_the_threshold_is_nothing() -> None:
    (boxes,) = decode(make_table(), score=0.95)
    assert len(boxes) == 0


def test_pictures_of_a_batch_are_read_each_for_itself() -> None:
    other = make_table()
    other[4:, 10:12] = 0
    together = decode(make_table(), np.zeros_like(other), other)
    alone = [decode(table)[0] for table in (make_table(), np.zeros_like(other), other)]
    assert [len(boxes) for boxes in together] == [3, 0, 2]
    for a, b in zip(together, alone, strict=True):
        assert (a.box.tobytes(), a.score.tobytes()) == (b.box.tobytes(), b.score.tobytes())


def test_v8_detects_in_source_pixels(see: Any) -> None:
    found = see(make_table(), size=(640, 640), labels="coco")
    assert facts(found) == [
        ("person", 0.9, [150, 320, 250, 480]),
        ("dog", 0.7, [150, 320, 250, 480]),
        ("car", 0.6, [1100, 560, 1280, 640]),
    ]


def test_v5_has_objectness(see: Any) -> None:
    table = np.zeros((252, 8), np.float32)  # 3 anchors for each of 84 cells
    table[7] = [20, 30, 8, 10, 0.9, 0.1, 0.8, 0]
    table[8] = [20, 31, 8, 10, 0.8, 0, 0.8, 0]
    table[251] = [40, 50, 8, 10, 0.8, 0.6, 0, 0]  # 0.48
    table[9] = [40, 20, 8, 10, 0.4, 0, 0, 1]
    assert facts(see(table)) == [("dog", 0.72, [32, 50, 48, 70])]


CHOSEN = np.zeros((300, 6), np.float32)
CHOSEN[:4] = [(10, 20, 30, 40, 0.9, 0), (11, 20, 30, 40, 0.8, 0), (1, 2, 3, 4, 0.7, 3), (5, 6, 7, 8, 0.6, 0)]


@pytest.mark.parametrize(("labels", "options"), [(["cat"], {}), (["cat", "dog"], {"layout": "end-to-end"})], ids=str)
def test_what_the_network_chose_is_not_suppressed_again(see: Any, labels: list[str], options: dict[str, Any]) -> None:
    card = {"labels": labels, **({"options": options} if options else {})}
    assert facts(see(CHOSEN, **card)) == [
        ("cat", 0.9, [20, 40, 60, 80]),
        ("cat", 0.8, [22, 40, 60, 80]),
        ("cat", 0.6, [10, 12, 14, 16]),
    ]


def test_with_one_class_the_number_of_cells_tells_v5(see: Any) -> None:
    table = np.zeros((252, 6), np.float32)
    table[0] = [20, 30, 8, 10, 0.9, 0.8]
    assert facts(see(table, labels=["cat"])) == [("cat", 0.72, [32, 50, 48, 70])]


def test_numbers_out_of_bounds_are_no_objects(see: Any) -> None:
    rows = [(10, 20, 30, 40, 2, 0), (1, 1, np.inf, 4, 0.9, 0), (1, 1, 5, 5, np.nan, 0), (1, 1, np.nan, 4, 0.9, 0)]
    rows += [(1, 1, 5, 5, 0.9, np.nan), (1, 1, 5, 5, 0.9, 1e30), (1, 1, 5, 5, 0.9, -1), (1, 1, 5, 5, 0.9, 3)]
    assert facts(see(np.array(rows, np.float32))) == [("cat", 1.0, [20, 40, 60, 80])]


@pytest.mark.parametrize("shape", EXPORTED.values(), ids=list(EXPORTED))
def test_what_the_exporter_writes_is_accepted(shape: tuple[int, int]) -> None:
    card = ModelCard.model_validate(make_card(labels="coco", input={"width": 320, "height": 256}))
    UltralyticsYolo().check([shape], card)


@pytest.mark.parametrize("shapes", [[(84, 85)], [(6, 8400)], [(84,)], [(7, 84), (7, 84)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card())
    wanted = r"3 labels has a table of shape \(7, cells\), \(cells, 8\) or, with its choice inside, \(objects, 6\)"
    with pytest.raises(InvalidModel, match=wanted):
        UltralyticsYolo().check(shapes, card)
    UltralyticsYolo().check([(7, 84)], card)


def test_another_layout_than_the_one_asked_for_is_refused() -> None:
    card = ModelCard.model_validate(make_card(options={"layout": "v5"}))
    with pytest.raises(InvalidModel, match=r"this network has \[\(7, 84\)\]"):
        UltralyticsYolo().check([(7, 84)], card)
