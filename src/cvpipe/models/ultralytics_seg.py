"""`ultralytics-seg`: objects and their masks in the layouts that Ultralytics' exporter writes (YOLACT's prototypes).

Source of the method: Bolya et al., YOLACT: Real-time Instance Segmentation, 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs, Patch
from cvpipe.models.activations import sigmoid
from cvpipe.models.ultralytics_table import TableOptions, layout_of, layouts_of, read_table, wanted_tables

_COEFFICIENTS = 32


class UltralyticsSeg(ObjectFamily):
    """Two outputs: a table as of `ultralytics-yolo` with coefficients at its end, and prototypes (32, h / 4, w / 4).

    v8, 11, 26: (4 + classes + 32, cells); v5: (cells, 5 + classes + 32); end-to-end and with NMS inside: (objects, 38).
    An object's mask is where the sum of prototypes, each times its coefficient, is above 0 between the middles of
    cells; in v5, where its sigmoid is above 0.5.
    """

    kind = "ultralytics-seg"
    tasks = ("instance-segmentation",)
    Options = TableOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there are such a table and its prototypes."""
        tables = [shape for shape in shapes if len(shape) == 2]
        grids = [shape for shape in shapes if len(shape) == 3]
        if (len(tables), len(grids), len(shapes)) == (1, 1, 2):
            size = (card.input.width, card.input.height)
            found = layouts_of(tables[0], card, more=grids[0][0], size=size)
            if found:
                return
        more = f" and {_COEFFICIENTS} coefficients"
        raise InvalidModel(
            f"model {card.ref}: {wanted_tables(card, more, _COEFFICIENTS)}, and prototypes ({_COEFFICIENTS}, h / 4, "
            f"w / 4); this network has {list(shapes)}",
            field="labels",
        )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes and masks on canvases of any size."""
        size = (views[0].width, views[0].height)
        table, grid = sorted(range(2), key=lambda which: outputs[0][which].ndim)
        more = outputs[0][grid].shape[0]
        layout = layout_of(outputs[0][table].shape, card, more=more, size=size)
        rows = read_table(outputs, table, layout, card, limits)
        found: list[Boxes] = []
        for i, places in enumerate(rows.best(views, card, limits)):
            boxes = rows.boxes.take(places)
            if limits.masks:
                prototypes, coefficients = outputs[i][grid], rows.more[places]
                pairs = zip(coefficients, boxes.box, strict=True)
                patches = (_patch(prototypes, *pair, size, squashed=layout == "v5") for pair in pairs)
                boxes = replace(boxes, mask=tuple(patches))
            found.append(boxes)
        return found


def _patch(prototypes: Floats, coefficients: Floats, box: Floats, size: tuple[int, int], *, squashed: bool) -> Patch:
    """The cells of the prototypes that an object's box touches, and one more on each side to blend with."""
    _, rows, columns = prototypes.shape
    cell = np.array([size[0] / columns, size[1] / rows])
    grid = (columns, rows)
    first = np.clip(np.floor(box[:2] / cell) - 1, 0, grid).astype(int)
    last = np.clip(np.ceil(box[2:] / cell) + 1, first, grid).astype(int)
    part = prototypes[:, first[1] : last[1], first[0] : last[0]]
    logits = np.tensordot(coefficients, part, axes=1)
    where = np.concatenate((first * cell, last * cell)).astype(np.float32)
    return Patch(where, sigmoid(logits)) if squashed else Patch(where, logits, level=0.0)
