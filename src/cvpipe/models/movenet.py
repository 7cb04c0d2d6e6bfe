"""`movenet`: MoveNet's networks for one person (https://www.tensorflow.org/hub/tutorials/movenet)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Floats, Outputs, PoseFamily, stacked


class Movenet(PoseFamily):
    """One output (1, 17, 3): y and x as shares of the canvas, and score, of COCO's 17 keypoints."""

    kind = "movenet"
    tasks = ("pose",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output (1, keypoints, 3)."""
        wanted = (1, len(card.keypoints), 3)
        if list(shapes) != [wanted]:
            raise InvalidModel(
                f"model {card.ref}: movenet with {len(card.keypoints)} keypoints has one output of shape {wanted}, "
                f"this network has {list(shapes)}",
                field="keypoints",
            )

    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> Floats:  # noqa: ARG002 - the layout says it all
        """(n, k, 3): x and y in pixels of the canvas, and score."""
        rows = stacked(outputs, 0)[:, 0]
        return (rows[..., [1, 0, 2]] * np.array((*size, 1), np.float32)).astype(np.float32)
