"""`yunet`: YuNet face detectors as libfacedetection's exporter writes them.

Source: https://github.com/ShiqiYu/libfacedetection.train and OpenCV's FaceDetectorYN, which reads the same networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs, best_of_each, stacked
from cvpipe.models.grids import cell_count, cells

_STRIDES = (8, 16, 32)
_POINTS = 5
_PARTS: Mapping[str, int] = {"class score": 1, "objectness": 1, "box": 4, "keypoints": 2 * _POINTS}


class Yunet(ObjectFamily):
    """Twelve outputs: class scores, objectness, boxes and keypoints, each for the cells of strides 8, 16 and 32.

    Scores (cells, 1), 0 to 1: a face's score is the root of their product. Boxes (cells, 4): centre as an offset from
    the cell in strides, logarithm of the size in strides. Keypoints (cells, 10): five offsets from the cell in strides;
    their score is the face's.
    """

    kind = "yunet"
    tasks = ("faces",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there are those twelve outputs, one label and no or five keypoints."""
        if len(card.labels) != 1 or len(card.keypoints) not in (0, _POINTS):
            raise InvalidModel(
                f"model {card.ref}: yunet has one label (`[face]`) and five keypoints (`faces`); the card names "
                f"{len(card.labels)} and {len(card.keypoints)}",
                field="labels" if len(card.labels) != 1 else "keypoints",
            )
        counts = [cell_count(card.input.width, card.input.height, (stride,)) for stride in _STRIDES]
        wanted = [(count, values) for values in _PARTS.values() for count in counts]
        if list(shapes) != wanted:
            raise InvalidModel(
                f"model {card.ref}: yunet at {card.input.width}x{card.input.height} has outputs of shapes {wanted}, "
                f"this network has {list(shapes)}"
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The faces on canvases of any multiple of 32 pixels."""
        parts = [_levels(outputs, first) for first in range(0, len(_PARTS) * len(_STRIDES), len(_STRIDES))]
        class_score, objectness, box, points = parts
        score = np.sqrt(np.clip(class_score[:, :, 0], 0, 1) * np.clip(objectness[:, :, 0], 0, 1))
        picture, place = np.nonzero(score >= limits.score)
        cell = cells(views[0].width, views[0].height, _STRIDES)[place]
        stride = cell[:, 2:]
        found, best = box[picture, place], score[picture, place]
        centre = (found[:, :2] + cell[:, :2]) * stride
        half = np.exp(found[:, 2:]) * stride / 2
        spots = points[picture, place].reshape(-1, _POINTS, 2)
        spots = (spots + cell[:, None, :2]) * stride[:, None]
        chance = np.broadcast_to(best[:, None, None], (len(best), _POINTS, 1))
        boxes = Boxes(
            np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32),
            best,
            np.zeros(len(best), np.int64),
            np.concatenate((spots, chance), axis=2, dtype=np.float32),
        )
        return [boxes.take(at) for at in best_of_each(boxes, picture, views, limits, labels=len(card.labels))]


def _levels(outputs: Sequence[Outputs], first: int) -> Floats:
    """(pictures, cells, values): one part for all strides, from three outputs."""
    return np.concatenate([stacked(outputs, first + level) for level in range(len(_STRIDES))], axis=1)
