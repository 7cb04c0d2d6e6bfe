"""`ultralytics-yolo`: YOLOv8 and later detectors in the layout that Ultralytics' exporter writes, without NMS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, Outputs, best_boxes


class UltralyticsYolo(ObjectFamily):
    """One output (4 + classes, cells).

    Rows: centre x, centre y, width and height in pixels of the canvas, then class scores with the sigmoid applied.
    There is no objectness: an object's score is its best class score.
    """

    kind = "ultralytics-yolo"
    tasks = ("detection",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output (4 + classes, cells)."""
        rows = 4 + len(card.labels)
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != rows:
            raise InvalidModel(
                f"model {card.ref}: ultralytics-yolo with {len(card.labels)} labels has one output of shape "
                f"({rows}, cells), this network has {list(shapes)}; export it without NMS"
            )

    def decode(
        self,
        outputs: Sequence[Outputs],
        views: Sequence[View],  # noqa: ARG002 - this family's boxes are in pixels already
        card: ModelCard,  # noqa: ARG002 - the layout says it all
        limits: Limits,
    ) -> list[Boxes]:
        """The boxes on canvases of any size."""
        found: list[Boxes] = []
        for (table,) in outputs:
            best = table[4:].max(axis=0)
            keep = np.flatnonzero(best >= limits.score)
            centre, half = table[:2, keep].T, table[2:4, keep].T / 2
            box = np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32)
            class_id = table[4:, keep].argmax(axis=0)
            found.append(best_boxes(Boxes(box, best[keep], class_id), iou_threshold=limits.iou))
        return found
