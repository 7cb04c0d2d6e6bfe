"""`yolox`: YOLOX detectors as its own exporter writes them (https://github.com/Megvii-BaseDetection/YOLOX)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, Outputs, best_of_each
from cvpipe.models.grids import cell_count, cells

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
        wanted = (cell_count(card.input.width, card.input.height, _STRIDES), 5 + len(card.labels))
        if list(shapes) != [wanted]:
            raise InvalidModel(
                f"model {card.ref}: yolox with {len(card.labels)} labels at {card.input.width}x{card.input.height} "
                f"has one output of shape {wanted}, this network has {list(shapes)}"
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any multiple of 32 pixels."""
        # No class score is above 1, so that objectness alone rules out most cells.
        places = [np.flatnonzero(table[:, 4] >= limits.score) for (table,) in outputs]
        picture = np.repeat(np.arange(len(places)), [len(some) for some in places])
        place = np.concatenate(places)
        rows = np.concatenate([table[some] for (table,), some in zip(outputs, places, strict=True)])
        class_id = rows[:, 5:].argmax(axis=1)
        score = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_id]
        good = np.flatnonzero(score >= limits.score)
        picture, rows, score, class_id = picture[good], rows[good], score[good], class_id[good]
        cell = cells(views[0].width, views[0].height, _STRIDES)[place[good]]
        stride = cell[:, 2:]
        centre = (rows[:, :2] + cell[:, :2]) * stride
        half = np.exp(rows[:, 2:4]) * stride / 2
        boxes = Boxes(np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32), score, class_id)
        return [boxes.take(at) for at in best_of_each(boxes, picture, views, limits, labels=len(card.labels))]
