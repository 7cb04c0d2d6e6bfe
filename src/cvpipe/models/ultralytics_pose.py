"""`ultralytics-pose`: people (or other things) and their keypoints in the layouts that Ultralytics' exporter writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs
from cvpipe.models.ultralytics_table import TableOptions, layout_of, layouts_of, read_table, wanted_tables


class UltralyticsPose(ObjectFamily):
    """One output, a table as of `ultralytics-yolo`, with x, y and score (or x and y) of each keypoint at its end.

    v8, 11, 26: (4 + classes + 3 k, cells). End-to-end and with NMS inside: (objects, 6 + 3 k). The card's `keypoints`
    says how many there are. Where the network gives no scores of keypoints, they are 1. Without `labels` on the card
    there is one class, `person`.
    """

    kind = "ultralytics-pose"
    tasks = ("pose",)
    Options = TableOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the card names keypoints, and there is one output, such a table."""
        points = len(card.keypoints)
        if not points:
            raise InvalidModel(f"model {card.ref}: {self.kind} needs the names of keypoints", field="keypoints")
        size = (card.input.width, card.input.height)
        found = [
            layout
            for values in (3, 2)
            for layout in (layouts_of(shapes[0], card, more=values * points, size=size) if len(shapes) == 1 else ())
        ]
        if not found:
            more = f" and {points} keypoints"
            raise InvalidModel(
                f"model {card.ref}: {wanted_tables(card, more, 3 * points)}, or {points} fewer where keypoints have no "
                f"scores; this network has {list(shapes)}",
                field="keypoints",
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes and keypoints on canvases of any size."""
        size, shape, points = (views[0].width, views[0].height), outputs[0][0].shape, len(card.keypoints)
        values = 3 if layouts_of(shape, card, more=3 * points, size=size) else 2
        layout = layout_of(shape, card, more=values * points, size=size)
        rows = read_table(outputs, 0, layout, card, limits)
        boxes = replace(rows.boxes, keypoints=_keypoints(rows.more.reshape(-1, points, values)))
        return [boxes.take(places) for places in rows.best(views, card, limits)]


def _keypoints(values: Floats) -> Floats:
    """(n, k, 3) from (n, k, 3), or (n, k, 2) without scores."""
    if values.shape[2] == 3:
        return values
    return np.concatenate((values, np.ones((*values.shape[:2], 1), np.float32)), axis=2)
