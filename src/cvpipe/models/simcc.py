"""`simcc`: top-down keypoints as one row of places for x and one for y (RTMPose, SimCC; MMPose's and MMDeploy's)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Floats, Outputs, PoseFamily, stacked


class Simcc(PoseFamily):
    """Two outputs, simcc_x (k, width * split) and simcc_y (k, height * split): how likely each place is.

    A keypoint is where its rows are highest, and as sure as the lower of the two is; what is nowhere above zero has the
    score 0. Places are numbers of pixels, whose middles are half a pixel from where they begin. Sources: SimCC
    (arXiv:2107.03332), RTMPose (arXiv:2303.07399).
    """

    kind = "simcc"
    tasks = ("pose",)

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there are two outputs (keypoints, width * s) and (keypoints, height * s)."""
        k, spec = len(card.keypoints), card.input
        fits = len(shapes) == 2 and all(len(shape) == 2 and shape[0] == k for shape in shapes)
        if not fits or shapes[0][1] * spec.height != shapes[1][1] * spec.width:
            raise InvalidModel(
                f"model {card.ref}: simcc with {k} keypoints at {spec.width}x{spec.height} has outputs of the shapes "
                f"({k}, {2 * spec.width}) and ({k}, {2 * spec.height}), or another multiple of the size; this network "
                f"has {list(shapes)}",
                field="keypoints",
            )

    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> Floats:  # noqa: ARG002 - the layout says it all
        """(n, k, 3): x and y in pixels of the canvas, and score."""
        rows = [stacked(outputs, which) for which in (0, 1)]
        places = [row.argmax(axis=2) * (size[axis] / row.shape[2]) + 0.5 for axis, row in enumerate(rows)]
        score = np.minimum(rows[0].max(axis=2), rows[1].max(axis=2)).clip(0, 1)
        return np.stack((*places, score), axis=2).astype(np.float32)
