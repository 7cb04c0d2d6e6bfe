"""MoveNet for several persons: rows of 56 numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference import ModelCard
from cvpipe.models import Limits
from cvpipe.models.movenet_multi import MovenetMulti
from tests.modelcards import make_card


def make_model(**changes: Any) -> ModelCard:
    return ModelCard.model_validate(
        make_card(family="movenet-multi", task="pose", **{"labels": [], "keypoints": "coco"} | changes)
    )


def make_rows() -> np.ndarray:
    """Three persons, the second the surest, the third not sure enough."""
    rows = np.zeros((6, 56), np.float32)
    rows[0, 6:9] = [0.5, 0.25, 0.8]  # the third keypoint: y, x, score
    rows[0, 51:] = [0.1, 0.2, 0.9, 0.4, 0.6]  # ymin, xmin, ymax, xmax, score
    rows[1, 51:] = [0.0, 0.5, 1.0, 1.0, 0.9]
    rows[2, 51:] = [0.0, 0.5, 1.0, 1.0, 0.2]
    return rows


def test_rows_become_persons_best_first() -> None:
    (boxes,) = MovenetMulti().decode([(make_rows(),)], [View.of(320, 160)], make_model(), Limits(score=0.3, iou=0.5))
    assert boxes.score == pytest.approx([0.9, 0.6])
    assert boxes.box == pytest.approx(np.array([[160, 0, 320, 160], [64, 16, 128, 144]]), abs=1e-4)
    assert boxes.keypoints is not None
    assert boxes.keypoints.shape == (2, 17, 3)
    assert boxes.keypoints[1, 2] == pytest.approx([80, 80, 0.8])


def test_no_more_than_asked_for() -> None:
    limits = Limits(score=0.1, iou=0.5, objects=1)
    (boxes,) = MovenetMulti().decode([(make_rows(),)], [View.of(64, 64)], make_model(), limits)
    assert len(boxes) == 1


@pytest.mark.parametrize(
    ("shapes", "changes", "words"),
    [
        ([(17, 3)], {}, "one output of shape"),
        ([], {}, "one output of shape"),
        ([(6, 56)], {"keypoints": "faces"}, "names 5 keypoints"),
        ([(6, 56)], {"labels": ["a", "b"]}, "2 labels"),
    ],
    ids=["shape", "none", "keypoints", "labels"],
)
def test_what_does_not_fit_is_refused(shapes: list[tuple[int, ...]], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidModel, match=words):
        MovenetMulti().check(shapes, make_model(**changes))
    MovenetMulti().check([(6, 56)], make_model())
