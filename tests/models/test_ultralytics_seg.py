"""Ultralytics' exports of instance segmentation: boxes, coefficients and prototypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.ultralytics_seg import UltralyticsSeg
from tests.modelcards import facts, make_card

SEG = {"family": "ultralytics-seg", "task": "instance-segmentation"}

# What version 8.4.190 of the exporter writes for 80 classes at 320x256 (width x height), without the batch dimension.
EXPORTED = {
    "yolov8n-seg": [(116, 1680), (32, 64, 80)],
    "yolo26n-seg": [(116, 1680), (32, 64, 80)],
    "yolov8n-seg nms=True": [(300, 38), (32, 64, 80)],
    "yolo26n-seg nms=False": [(300, 38), (32, 64, 80)],
    "yolov5n-seg of its own repository": [(5040, 117), (32, 64, 80)],
}


def make_prototypes() -> np.ndarray:
    """(32, 16, 16): the first is of the left half of the canvas, the second of the upper half."""
    prototypes = np.zeros((32, 16, 16), np.float32)
    prototypes[0] = np.where(np.arange(16) < 8, 1, -1)
    prototypes[1] = np.where(np.arange(16)[:, None] < 8, 1, -1)
    return prototypes


def coefficients(first: float, second: float) -> list[float]:
    return [first, second, *[0.0] * 30]


def make_table(layout: str) -> np.ndarray:
    """A cat that covers the left half of its box, a dog that covers the lower half of its, in source pixels:
    (40, 24) to (88, 96) and (16, 48) to (48, 80)."""
    cat, dog = coefficients(9, 0), coefficients(0, -9)
    if layout == "end-to-end":
        table = np.zeros((300, 38), np.float32)
        table[:2] = [[20, 12, 44, 48, 0.9, 0, *cat], [8, 24, 24, 40, 0.8, 1, *dog]]
    elif layout == "v5":
        table = np.zeros((252, 40), np.float32)
        table[[5, 9]] = [[32, 30, 24, 36, 1, 0.9, 0, 0, *cat], [16, 32, 16, 16, 0.8, 0, 1, 0, *dog]]
    else:
        table = np.zeros((39, 84), np.float32)
        table[:, [5, 9]] = np.transpose([[32, 30, 24, 36, 0.9, 0, 0, *cat], [16, 32, 16, 16, 0, 0.8, 0, *dog]])
    return table


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["table first", "prototypes first"])
@pytest.mark.parametrize("layout", ["v8", "v5", "end-to-end"])
def test_masks_cover_source_pixels(see: Any, layout: str, order: tuple[int, int]) -> None:
    answers = (make_table(layout), make_prototypes())
    found = see(*(answers[i] for i in order), **SEG)
    assert facts(found) == [("cat", 0.9, [40, 24, 88, 96]), ("dog", 0.8, [16, 48, 48, 80])]
    cat, dog = np.zeros((128, 128), bool), np.zeros((128, 128), bool)
    cat[24:96, 40:64] = True
    dog[64:80, 16:48] = True
    assert found.mask[0] is not None
    assert found.mask[1] is not None
    assert (found.mask[0].pixels() == cat).all()
    assert (found.mask[1].pixels() == dog).all()


@pytest.mark.parametrize("layout", ["v8", "v5", "end-to-end"])
def test_between_cells_logits_are_blended_and_in_v5_their_sigmoids(see: Any, layout: str) -> None:
    """Ultralytics' own code enlarges what is not yet squashed; YOLOv5's, as YOLACT's, enlarges chances."""
    prototypes = np.zeros((32, 16, 16), np.float32)
    prototypes[0] = np.where(np.arange(16) < 8, 1, -1 / 9)  # of the cat, 9 and -1
    found = see(make_table(layout), prototypes, **SEG)
    # A cell is 8 pixels of the frame; the middles of the two cells that differ are at 60 and 68.
    first, last = (1 / (1 + np.exp(-9)), 1 / (1 + np.exp(1))) if layout == "v5" else (9, -1)
    level = 0.5 if layout == "v5" else 0
    along = [first + (last - first) * min(max((x + 0.5 - 60) / 8, 0), 1) for x in range(128)]
    wanted = [40 <= x < 88 and value > level for x, value in enumerate(along)]
    assert found.mask[0].pixels()[50].tolist() == wanted
    assert sum(wanted) == (65 if layout == "v5" else 67) - 40


def test_masks_can_be_left_out(see: Any) -> None:
    found = see(make_table("v8"), make_prototypes(), stage_options={"masks": False}, **SEG)
    assert facts(found) == [("cat", 0.9, [40, 24, 88, 96]), ("dog", 0.8, [16, 48, 48, 80])]
    assert found.mask == (None, None)


@pytest.mark.parametrize("shapes", EXPORTED.values(), ids=list(EXPORTED))
def test_what_the_exporter_writes_is_accepted(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(**SEG, labels="coco", input={"width": 320, "height": 256}))
    UltralyticsSeg().check(shapes, card)


@pytest.mark.parametrize("shapes", [[(39, 84)], [(39, 84), (16, 16, 16)], [(38, 84), (32, 16, 16)], []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    wanted = r"3 labels and 32 coefficients has a table of shape \(39, cells\).*and prototypes \(32, h / 4, w / 4\)"
    with pytest.raises(InvalidModel, match=wanted):
        UltralyticsSeg().check(shapes, ModelCard.model_validate(make_card(**SEG)))
