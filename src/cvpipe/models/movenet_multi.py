"""`movenet-multi`: MoveNet's network for up to six persons (https://www.tensorflow.org/hub/tutorials/movenet)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, Outputs

_KEYPOINTS = 17


class MovenetMulti(ObjectFamily):
    """One output (6, 56), a person a row: 17 times y, x and score, then ymin, xmin, ymax, xmax and score.

    Places are shares of the canvas. The network drops overlapping persons itself.
    """

    kind = "movenet-multi"
    tasks = ("pose",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output (persons, 56), for 17 keypoints and one label."""
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] != 3 * _KEYPOINTS + 5:
            raise InvalidModel(
                f"model {card.ref}: movenet-multi has one output of shape (6, {3 * _KEYPOINTS + 5}), this network has "
                f"{list(shapes)}"
            )
        if len(card.keypoints) != _KEYPOINTS or len(card.labels) > 1:
            raise InvalidModel(
                f"model {card.ref}: movenet-multi finds persons with {_KEYPOINTS} keypoints (`keypoints: coco`); the "
                f"card names {len(card.keypoints)} keypoints and {len(card.labels)} labels",
                field="keypoints" if len(card.keypoints) != _KEYPOINTS else "labels",
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:  # noqa: ARG002 - the layout says it all
        """The persons on canvases of any size, best first."""
        found = []
        for (rows,), view in zip(outputs, views, strict=True):
            order = np.argsort(-rows[:, -1], kind="stable")
            rows = rows[order[rows[order, -1] >= limits.score]][: limits.objects]
            size = np.array((view.width, view.height), np.float32)
            points = rows[:, : 3 * _KEYPOINTS].reshape(-1, _KEYPOINTS, 3)[..., [1, 0, 2]]
            points = (points * np.append(size, np.float32(1))).astype(np.float32)
            box = (rows[:, [-4, -5, -2, -3]] * np.tile(size, 2)).astype(np.float32)
            found.append(Boxes(box, rows[:, -1].astype(np.float32), np.zeros(len(rows), np.int64), points))
        return found
