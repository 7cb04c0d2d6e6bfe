"""Two outputs: a box for each of many places, and a score for each of its classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.models import FamilyOptions, Floats, Ints
from cvpipe.models.activations import logit, sigmoid, softmax

Activation = Literal["none", "sigmoid", "softmax"]


class PairedOptions(FamilyOptions):
    """Options of families that read two such outputs."""

    boxes_first: bool | None = Field(
        default=None,
        description="Whether boxes are the first of the two outputs. Default: the one with four columns; matters where "
        "there are four classes.",
    )


def paired(
    shapes: Sequence[Sequence[int]], columns: Collection[int], *, boxes_first: bool | None, otherwise: bool
) -> tuple[int, int] | None:
    """Which output is of boxes (n, 4) and which of scores (n, one of `columns`); None where it is not that.

    otherwise: whether boxes come first where shapes don't tell and nothing was asked for.
    """
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        return None
    orders = [(i, 1 - i) for i in (0, 1) if shapes[i][1] == 4 and shapes[1 - i][1] in columns]
    if boxes_first is not None:
        orders = [order for order in orders if order == (1 - boxes_first, int(boxes_first))]
    if len(orders) == 2:
        return (0, 1) if otherwise else (1, 0)
    return orders[0] if orders else None


def good_scores(
    scores: Floats, activation: Activation, threshold: float, *, classes: slice, best_only: bool = False
) -> tuple[Ints, Ints, Ints, Floats]:
    """The scores that are good enough: picture, place, class and score of each, picture by picture.

    scores: (pictures, n, columns), of which `activation` makes chances. classes: which columns are of classes, the
    first of them being class 0. best_only: only the best class of each place.
    """
    if activation == "softmax":
        scores = softmax(scores)
    scores = scores[:, :, classes]
    # Few logits are looked at closely: most say no.
    level = logit(threshold) if activation == "sigmoid" else threshold
    if best_only:
        picture, place = np.nonzero(scores.max(axis=2) >= level)
        class_id = scores[picture, place].argmax(axis=1)
    else:
        picture, place, class_id = np.nonzero(scores >= level)
    found = scores[picture, place, class_id]
    return picture, place, class_id, sigmoid(found) if activation == "sigmoid" else found.astype(np.float32, copy=False)


def from_centres(box: Floats) -> Floats:
    """x1, y1, x2, y2 from centre x, centre y, width, height: (n, 4)."""
    half = box[:, 2:] / 2
    return np.concatenate((box[:, :2] - half, box[:, :2] + half), axis=1, dtype=np.float32)
