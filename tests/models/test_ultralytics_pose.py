"""Ultralytics' exports of poses: boxes with keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Limits
from cvpipe.models.ultralytics_pose import UltralyticsPose
from tests.modelcards import facts, make_card

POSE = {"family": "ultralytics-pose", "task": "pose", "labels": []}
THREE = {**POSE, "keypoints": ["head", "hand", "foot"]}

# What version 8.4.190 of the exporter writes at 320x256 (width x height): labels, shape without the batch dimension.
EXPORTED = {
    "yolov8n-pose": (1, (56, 1680)),
    "yolo26n-pose of 80 classes": (80, (135, 1680)),
    "yolov8n-pose nms=True": (1, (300, 57)),
    "yolo26n-pose nms=False": (80, (300, 57)),
}


def test_people_have_keypoints_in_source_pixels(see: Any) -> None:
    table = np.zeros((14, 84), np.float32)
    table[:, 3] = [20, 30, 8, 10, 0.9, 18, 26, 0.9, 20, 30, 0.4, 22, 70, 0.2]
    table[:, 4] = [20, 31, 8, 10, 0.8, *[1] * 9]
    table[:, 5] = [50, 50, 8, 10, 0.7, 48, 46, 1.5, np.nan, 50, 0.5, 52, 54, -1]
    found = see(table, **THREE)
    assert facts(found) == [("person", 0.9, [32, 50, 48, 70]), ("person", 0.7, [92, 90, 108, 110])]
    assert [points.tolist() for points in found.keypoints if points is not None] == [
        [[36, 52, pytest.approx(0.9)], [40, 60, pytest.approx(0.4)], [44, 128, pytest.approx(0.2)]],
        [[96, 92, 1], [0, 100, 0.5], [104, 108, 0]],
    ]


def test_an_object_may_have_no_keypoints(see: Any) -> None:
    table = np.zeros((14, 84), np.float32)
    table[:, 3] = [20, 30, 8, 10, 0.9, *[np.nan] * 9]
    assert see(table, **THREE).keypoints == (None,)


def test_keypoints_may_have_no_scores(see: Any) -> None:
    table = np.zeros((11, 84), np.float32)
    table[:, 3] = [20, 30, 8, 10, 0.9, 18, 26, 20, 30, 22, 34]
    (points,) = see(table, **THREE).keypoints
    assert points is not None
    assert points.tolist() == [[36, 52, 1], [40, 60, 1], [44, 68, 1]]


@pytest.mark.parametrize("values", [3, 2])
def test_poses_that_the_network_chose(see: Any, values: int) -> None:
    table = np.zeros((300, 6 + 3 * values), np.float32)
    points = np.array([(18, 26, 0.5), (20, 30, 0.5), (22, 34, 0.5)], np.float32)[:, :values]
    table[:2] = [[16, 25, 24, 35, 0.9, 0, *points.ravel()], [17, 25, 24, 35, 0.8, 0, *points.ravel()]]
    found = see(table, **THREE)
    assert facts(found) == [("person", 0.9, [32, 50, 48, 70]), ("person", 0.8, [34, 50, 48, 70])]
    score = 0.5 if values == 3 else 1
    assert found.keypoints[1] is not None
    assert found.keypoints[1].tolist() == [[36, 52, score], [40, 60, score], [44, 68, score]]


@pytest.mark.parametrize(("labels", "shape"), EXPORTED.values(), ids=list(EXPORTED))
def test_what_the_exporter_writes_is_accepted(labels: int, shape: tuple[int, int]) -> None:
    names = "coco" if labels == 80 else []
    content = make_card(**POSE | {"labels": names}, keypoints="coco", input={"width": 320, "height": 256})
    card = ModelCard.model_validate(content)
    UltralyticsPose().check([shape], card)
    (boxes,) = UltralyticsPose().decode(
        [(np.ones(shape, np.float32),)], [View.of(320, 256)], card, Limits(score=0.5, iou=0.5)
    )
    assert boxes.keypoints is None or boxes.keypoints.shape == (len(boxes), 17, 3)


@pytest.mark.parametrize("shapes", [[(13, 84)], [(84, 13)], [(300, 14)], [(14, 84)] * 2, []], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(**THREE))
    wanted = r"1 label and 3 keypoints has a table of shape \(14, cells\).*or 3 fewer where keypoints have no scores"
    with pytest.raises(InvalidModel, match=wanted):
        UltralyticsPose().check(shapes, card)


def test_keypoints_must_have_names() -> None:
    with pytest.raises(InvalidModel, match="needs the names of keypoints") as caught:
        UltralyticsPose().check([(14, 84)], ModelCard.model_validate(make_card(**POSE)))
    assert caught.value.field == "keypoints"
