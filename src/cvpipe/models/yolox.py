"""`yolox`: YOLOX detectors as its own exporter writes them (https://github.com/Megvii-BaseDetection/YOLOX)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs, best_boxes

_STRIDES = (8, 16, 32)


class Yolox(ObjectFamily):
    """One output (cells, 5 + classes), the cells of strides 8, 16 and 32 row by row.

    Columns: centre as an offset from the cell in strides, logarithm of the size in strides, objectness, class scores
    (both with the sigmoid applied). An object's score is objectness times its best class score.
    """

    kind = "yolox"
    tasks = ("detection",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output (cells, 5 + classes)."""
        wanted = (len(_cells(card.input.width, card.input.height)), 5 + len(card.labels))
        if list(shapes) != [wanted]:
            raise InvalidModel(
                f"model {card.ref}: yolox with {len(card.labels)} labels at {card.input.width}x{card.input.height} "
                f"has one output of shape {wanted}, this network has {list(shapes)}"
            )

    def decode(
        self,
        outputs: Sequence[Outputs],
        views: Sequence[View],
        card: ModelCard,  # noqa: ARG002 - the layout says it all
        limits: Limits,
    ) -> list[Boxes]:
        """The boxes on canvases of any multiple of 32 pixels."""
        return [_boxes(rows, view, limits) for (rows,), view in zip(outputs, views, strict=True)]


def _boxes(rows: Floats, view: View, limits: Limits) -> Boxes:
    cells = _cells(view.width, view.height)
    # No class score is above 1, so that objectness alone rules out most cells.
    keep = np.flatnonzero(rows[:, 4] >= limits.score)
    if not len(keep):
        return Boxes.none()
    rows, cells = rows[keep], cells[keep]
    class_id = rows[:, 5:].argmax(axis=1)
    score = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_id]
    good = score >= limits.score
    rows, cells, score, class_id = rows[good], cells[good], score[good], class_id[good]
    stride = cells[:, 2:]
    centre = (rows[:, :2] + cells[:, :2]) * stride
    half = np.exp(rows[:, 2:4]) * stride / 2
    box = np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32)
    return best_boxes(Boxes(box, score, class_id), iou_threshold=limits.iou)


@lru_cache(maxsize=32)
def _cells(width: int, height: int) -> Floats:
    """(cells, 3): column, row and stride of each cell of a canvas."""
    levels: list[Floats] = []
    for stride in _STRIDES:
        row, column = np.mgrid[: height // stride, : width // stride]
        levels.append(np.stack((column, row, np.full_like(row, stride)), axis=-1).reshape(-1, 3).astype(np.float32))
    cells = np.concatenate(levels)
    cells.setflags(write=False)
    return cells
