"""Families read made-up outputs as the networks' own code reads them.

What that code says was recorded from transformers 5 (`post_process_object_detection` of RT-DETR and YOLOS), Ultralytics
8.4.190 (`non_max_suppression`) and torchvision (`postprocess_detections` of RetinaNet and SSD): how many objects, and
the best five.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, family
from tests.modelcards import make_card

Rows = list[tuple[float, int, list[float]]]


def noise(*shape: int, low: float, high: float, seed: float) -> np.ndarray:
    """Numbers that look like chance, and are the same everywhere."""
    places = np.arange(1, np.prod(shape) + 1)
    share = np.modf(np.abs(np.sin(places * 12.9898 + seed) * 43758.5453))[0]
    return (low + (high - low) * share).reshape(shape).astype(np.float32)


def read(outputs: tuple[np.ndarray, ...], size: tuple[int, int], limits: Limits, **card: Any) -> Boxes:
    found = ModelCard.model_validate(make_card(input={"width": size[0], "height": size[1]}, **card))
    reader = family(found)
    assert isinstance(reader, ObjectFamily)
    reader.check([output.shape for output in outputs], found)
    return reader.decode([outputs], [View.of(*size)], found, limits)[0]


def is_equal(boxes: Boxes, count: int, best: Rows) -> bool:
    scores, classes, places = ([row[i] for row in best] for i in range(3))
    return (
        len(boxes) == count
        and boxes.class_id[: len(best)].tolist() == classes
        and bool(np.allclose(boxes.score[: len(best)], scores, rtol=0, atol=1e-4))
        and bool(np.allclose(boxes.box[: len(best)], places, rtol=0, atol=0.01))
    )


SHARES = noise(40, 4, low=0.1, high=0.9, seed=0.6180339887)


def test_rt_detr_is_read_as_transformers_reads_it() -> None:
    logits = noise(40, 3, low=-9, high=2, seed=0.7548776662)
    boxes = read((logits, SHARES), (64, 48), Limits(0.7, 0.5), family="detr")
    best: Rows = [
        (0.8636, 1, [-1.63, 28.31, 42.55, 35.21]),
        (0.8494, 0, [21.36, 16.87, 37.38, 41.23]),
        (0.8392, 0, [31.9, 17.81, 70.53, 50.1]),
        (0.8334, 0, [-12.47, -6.48, 40.42, 33.93]),
        (0.7489, 0, [-1.63, 28.31, 42.55, 35.21]),
    ]
    assert is_equal(boxes, 6, best)


def test_yolos_is_read_as_transformers_reads_it() -> None:
    logits = noise(40, 4, low=-5, high=5, seed=0.7548776662)
    boxes = read((logits, SHARES), (64, 48), Limits(0.7, 0.5), family="detr")
    best: Rows = [
        (0.9983, 2, [4.68, 21.23, 22.19, 31.16]),
        (0.9941, 2, [33.19, -1.74, 75.82, 14.44]),
        (0.9899, 1, [14.85, 4.82, 38.7, 12.1]),
        (0.987, 0, [46.54, 15.26, 60.6, 54.61]),
        (0.9754, 2, [26.58, -6.74, 75.56, 28.79]),
    ]
    assert is_equal(boxes, 17, best)


def test_v8_is_read_as_ultralytics_reads_it() -> None:
    parts = ((2, 10, 54, 0.6180339887), (2, 5, 40, 0.5698402910), (3, 0, 1, 0.7548776662))
    table = np.concatenate([noise(n, 63, low=low, high=high, seed=seed) for n, low, high, seed in parts])
    boxes = read((table,), (64, 64), Limits(0.8, 0.3), family="ultralytics-yolo")
    best: Rows = [
        (0.9974, 2, [9.08, 13.55, 47.35, 25.4]),
        (0.986, 0, [30.69, 35.6, 61.82, 66.01]),
        (0.9833, 2, [7.04, 23.5, 15.33, 30.97]),
        (0.9828, 2, [44.45, 20.36, 55.4, 43.97]),
        (0.9786, 2, [28.3, 10.32, 68.29, 22.86]),
    ]
    assert is_equal(boxes, 23, best)


def test_retinanet_is_read_as_torchvision_reads_it() -> None:
    logits = noise(1161, 3, low=-90, high=3, seed=0.7548776662)
    moves = noise(1161, 4, low=-0.5, high=0.5, seed=0.6180339887)
    boxes = read((logits, moves), (96, 64), Limits(0.7, 0.4), family="retinanet")
    best: Rows = [
        (0.9518, 1, [82.74, 0.0, 96.0, 27.3]),
        (0.9509, 1, [0.0, 21.7, 65.77, 64.0]),
        (0.9508, 0, [46.32, 15.1, 77.38, 28.6]),
        (0.9493, 0, [51.1, 46.5, 87.28, 64.0]),
        (0.9492, 2, [68.97, 0.0, 96.0, 28.36]),
    ]
    assert is_equal(boxes, 45, best)


def test_ssd_is_read_as_torchvision_reads_it() -> None:
    logits = noise(32, 4, low=-4, high=4, seed=0.7548776662)
    moves = noise(32, 4, low=-3, high=3, seed=0.6180339887)
    sides = [
        [(0.2, 0.2), (0.1**0.5, 0.1**0.5), (0.08**0.5, 0.02**0.5), (0.02**0.5, 0.08**0.5)],
        [(0.5, 0.5), (0.4**0.5, 0.4**0.5), (0.5**0.5, 0.125**0.5), (0.125**0.5, 0.5**0.5)],
    ]
    priors = {"strides": [32, 64], "shapes": [[(96 * w, 64 * h) for w, h in level] for level in sides]}
    options = {"priors": priors, "activation": "softmax"}
    boxes = read((moves, logits), (96, 64), Limits(0.5, 0.4), family="ssd", options=options)
    best: Rows = [
        (0.9705, 0, [35.12, 43.12, 57.55, 48.49]),
        (0.946, 1, [42.69, 40.78, 56.78, 55.41]),
        (0.9457, 1, [71.0, 2.57, 96.0, 48.45]),
        (0.9419, 2, [27.71, 8.02, 71.92, 20.74]),
        (0.9361, 0, [55.7, 12.52, 96.0, 24.39]),
    ]
    assert is_equal(boxes, 20, best)
