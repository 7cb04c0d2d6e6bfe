"""`fastestdet`: FastestDet as its own exporter writes it (https://github.com/dog-qiuqiu/FastestDet)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, Outputs, best_of_each, stacked
from cvpipe.models.activations import sigmoid


class Fastestdet(ObjectFamily):
    """One output (5 + classes, rows, columns), a grid over the canvas, mostly of stride 16.

    Channels: objectness (0 to 1), centre (its tanh is an offset from the cell in cells), size (its sigmoid is a share
    of the canvas), class scores (0 to 1). An object's score is objectness ** 0.6 times its best class score ** 0.4.
    """

    kind = "fastestdet"
    tasks = ("detection",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output (5 + classes, rows, columns)."""
        channels = 5 + len(card.labels)
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != channels:
            raise InvalidModel(
                f"model {card.ref}: fastestdet with {len(card.labels)} labels has one output of shape ({channels}, "
                f"rows, columns), this network has {list(shapes)}",
                field="labels",
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any size."""
        grid = stacked(outputs, 0)
        rows, columns = grid.shape[2:]
        score = np.maximum(grid[:, 0], 0) ** np.float32(0.6) * np.maximum(grid[:, 5:].max(axis=1), 0) ** np.float32(0.4)
        picture, row, column = np.nonzero(score >= limits.score)
        found = grid[picture, :, row, column]
        size = np.array([views[0].width, views[0].height], np.float32)
        cell = np.stack((column, row), axis=1)
        centre = (np.tanh(found[:, 1:3]) + cell) * (size / (columns, rows))
        half = sigmoid(found[:, 3:5]) * size / 2
        boxes = Boxes(
            np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32),
            score[picture, row, column],
            found[:, 5:].argmax(axis=1),
        )
        return [boxes.take(at) for at in best_of_each(boxes, picture, views, limits, labels=len(card.labels))]
