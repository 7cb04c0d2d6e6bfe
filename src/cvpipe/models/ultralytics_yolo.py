"""`ultralytics-yolo`: detectors in the layouts that Ultralytics' exporter writes, YOLOv5 to YOLO26."""

from __future__ import annotations

from collections.abc import Sequence

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, Outputs
from cvpipe.models.ultralytics_table import TableOptions, layout_of, layouts_of, read_table, wanted_tables


class UltralyticsYolo(ObjectFamily):
    """One output, a table with the sigmoid applied to its scores, in pixels of the canvas.

    v8 (and v9, v10, 11, 12, 26 without NMS): (4 + classes, cells), rows centre x, centre y, width, height, class
    scores. v5: (cells, 5 + classes), with objectness before the class scores; a score is their product. End-to-end
    (v10, 26) and with NMS inside: (objects, 6), columns x1, y1, x2, y2, score, class.
    """

    kind = "ultralytics-yolo"
    tasks = ("detection",)
    Options = TableOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output, such a table."""
        size = (card.input.width, card.input.height)
        found = layouts_of(shapes[0], card, more=0, size=size) if len(shapes) == 1 else []
        if not found:
            raise InvalidModel(
                f"model {card.ref}: {wanted_tables(card, '', 0)}; this network has {list(shapes)}", field="labels"
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any size."""
        size = (views[0].width, views[0].height)
        layout = layout_of(outputs[0][0].shape, card, more=0, size=size)
        rows = read_table(outputs, 0, layout, card, limits)
        return [rows.boxes.take(places) for places in rows.best(views, card, limits)]
