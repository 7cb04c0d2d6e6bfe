"""Mask R-CNN and Faster R-CNN: what torchvision exports, without a batch dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.mask_rcnn import MaskRcnn
from tests.modelcards import facts, make_card

MASKED = {"family": "mask-rcnn", "task": "instance-segmentation", "labels": "coco91"}

BOXES = np.array([(8, 16, 36, 44), (8, 16, 36, 45), (30, 30, 64, 64)], np.float32)
LABELS = np.array([18, 18, 1])
SCORES = np.array([0.9, 0.8, 0.7], np.float32)
WANTED = [("dog", 0.9, [16, 32, 72, 88]), ("dog", 0.8, [16, 32, 72, 90]), ("person", 0.7, [60, 60, 128, 128])]

# From torchvision's exports of randomly initialised networks at 320x320: no batch dimension, as many rows as objects.
EXPORTED: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "maskrcnn_resnet50_fpn": ("instance-segmentation", [(100, 4), (100,), (100,), (100, 1, 320, 320)]),
    "maskrcnn_resnet50_fpn, nothing seen": ("instance-segmentation", [(0, 4), (0,), (0,), (0, 1, 320, 320)]),
    "MaskRCNN-10 of the ONNX model zoo": ("instance-segmentation", [(7, 4), (7,), (7,), (7, 1, 28, 28)]),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("detection", [(0, 4), (0,), (0,)]),
}


def test_masks_lie_over_their_boxes(see: Any) -> None:
    masks = np.zeros((3, 1, 28, 28), np.float32)
    masks[0, 0, :, :14] = 1  # the left half
    masks[1, 0, 14:] = 1
    masks[2] = 1
    found = see(BOXES, LABELS, SCORES, masks, batched=False, **MASKED)
    assert facts(found) == WANTED
    left, _, whole = (mask.pixels() for mask in found.mask)
    assert np.argwhere(left).min(axis=0).tolist() == [32, 16]
    assert np.argwhere(left).max(axis=0).tolist() == [87, 43]
    assert left.sum() == 56 * 28
    assert whole.sum() == 68 * 68 - 4  # in the corners zeros come near from two sides


def plain_paste(grid: np.ndarray, box: list[float], width: int, height: int) -> np.ndarray:
    """Pixel by pixel: bilinear between the middles of a grid's cells, beyond which there are zeros."""
    rows, columns = grid.shape
    found = np.zeros((height, width))
    for py in range(height):
        for px in range(width):
            u = (px + 0.5 - box[0]) / (box[2] - box[0]) * columns - 0.5
            v = (py + 0.5 - box[1]) / (box[3] - box[1]) * rows - 0.5
            for i in (int(np.floor(v)), int(np.floor(v)) + 1):
                for j in (int(np.floor(u)), int(np.floor(u)) + 1):
                    if 0 <= i < rows and 0 <= j < columns:
                        found[py, px] += grid[i, j] * (1 - abs(v - i)) * (1 - abs(u - j))
    return found


def test_beyond_the_cells_of_a_mask_there_are_zeros(see: Any) -> None:
    """As Detectron2, MMDetection and maskrcnn-benchmark paste them, whose exports have masks of 28 by 28."""
    cells = np.random.default_rng(2).uniform(0.2, 1, (3, 1, 4, 4)).astype(np.float32)
    found = see(BOXES, LABELS, SCORES, cells, batched=False, **MASKED)
    for mask, grid, (_, _, box) in zip(found.mask, cells[:, 0], WANTED, strict=True):
        chance = plain_paste(grid, box, 128, 128)
        clear = np.abs(chance - 0.5) > 1e-4
        assert (mask.pixels() == (chance > 0.5))[clear].all()
    cut = np.zeros((128, 128), bool)
    cut[32:88, 16:72] = True
    assert not found.mask[0].pixels()[cut].all()
    assert found.mask[0].pixels()[cut].any()


def test_masks_may_be_of_the_whole_canvas(see: Any) -> None:
    masks = np.zeros((3, 1, 64, 64), np.float32)
    masks[0, 0, 20:30, 10:20] = 0.9
    masks[0, 0, 20:30, 20:64] = 0.4
    found = see(BOXES, LABELS, SCORES, masks, batched=False, **MASKED)
    pixels = found.mask[0].pixels()
    assert (pixels[40:60, 20:40]).all()
    assert pixels.sum() == pytest.approx(20 * 20, rel=0.15)  # bilinear, between 0.9 and 0.4 or 0
    assert [mask.area for mask in found.mask[1:]] == [0, 0]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)], ids=["boxes, labels, scores", "boxes, scores, labels"])
def test_boxes_alone_are_detections(see: Any, order: tuple[int, ...]) -> None:
    answers = (BOXES, LABELS, SCORES)
    found = see(*(answers[i] for i in order), batched=False, family="mask-rcnn", labels="coco91")
    assert facts(found) == WANTED
    assert found.mask == (None, None, None)


def test_background_may_be_left_out_of_the_labels(see: Any) -> None:
    answers = (BOXES, np.array([3, 1, 0]), SCORES)
    found = see(*answers, batched=False, family="mask-rcnn", options={"first_label": 1})
    assert [label for label, _, _ in facts(found)] == ["bird", "cat"]


@pytest.mark.parametrize(("task", "shapes"), EXPORTED.values(), ids=list(EXPORTED))
def test_what_exporters_write_is_accepted(task: str, shapes: list[tuple[int, ...]]) -> None:
    MaskRcnn().check(shapes, ModelCard.model_validate(make_card(**MASKED | {"task": task})))


@pytest.mark.parametrize(
    "shapes",
    [[(9, 4), (9,), (9,)], [(9, 4), (9,), (8,), (9, 1, 28, 28)], [(9, 5), (9,), (9,), (9, 1, 28, 28)], []],
    ids=["no masks", "other numbers", "no boxes", "nothing"],
)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(**MASKED))
    with pytest.raises(
        InvalidModel, match=r"has boxes \(k, 4\), labels \(k,\) and scores \(k,\) and masks \(k, 1, h, w\)"
    ):
        MaskRcnn().check(shapes, card)
