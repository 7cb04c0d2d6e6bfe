"""Objects that a network has chosen itself: boxes, labels and scores, each in an output of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import (
    Boxes,
    FamilyOptions,
    Floats,
    Ints,
    Limits,
    Outputs,
    best_of_each,
    label_names,
    whole_numbers,
)
from cvpipe.models.suppression import Places

ToPixels = Callable[[Floats, View], Floats]


class ChosenOptions(FamilyOptions):
    """Options of families whose networks may choose objects themselves."""

    first_label: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="The number that the network gives to the card's first label: 1 where it counts a background, or "
        "nothing, as 0 and the labels leave that out.",
    )


@dataclass(frozen=True, slots=True)
class Slots:
    """Which output is what. lists: labels and scores, in whichever order. masks: None where there are none.

    counted: whether there is an output that tells how many objects there are.
    """

    boxes: int
    lists: tuple[int, int]
    masks: int | None = None
    counted: bool = False


def slots_of(shapes: Sequence[Sequence[int]]) -> Slots | None:
    """Boxes (k, 4), two lists (k,), maybe masks (k, 1, h, w) and the number of objects; None where it is not that."""
    boxes = [i for i, shape in enumerate(shapes) if len(shape) == 2 and shape[1] == 4]
    masks = [i for i, shape in enumerate(shapes) if len(shape) in (3, 4)]
    counts = [i for i, shape in enumerate(shapes) if len(shape) == 0]
    lists = [i for i, shape in enumerate(shapes) if len(shape) == 1]
    if len(lists) == 3 and not counts and len(boxes) == 1:
        # The number of objects of a network whose outputs have no batch dimension: a list of one.
        counts = [i for i in lists if shapes[i][0] == 1][:1]
        lists = [i for i in lists if i not in counts]
    if len(boxes) != 1 or len(lists) != 2 or len(masks) > 1 or len(counts) > 1:
        return None
    if len(shapes) != 3 + len(masks) + len(counts):
        return None
    k = shapes[boxes[0]][0]
    if any(shapes[i][0] != k for i in (*lists, *masks)):
        return None
    return Slots(boxes[0], (lists[0], lists[1]), masks[0] if masks else None, bool(counts))


def read_chosen(
    output: Outputs,
    slots: Slots,
    view: View,
    card: ModelCard,
    limits: Limits,
    *,
    first_label: int,
    to_pixels: ToPixels | None = None,
) -> tuple[Boxes, Places]:
    """The objects of one picture that stay, best first, and their places in the outputs.

    to_pixels: makes x1, y1, x2, y2 in pixels of the canvas from boxes; default: they are that.
    """
    number, score = _labels_and_scores(output[slots.lists[0]], output[slots.lists[1]])
    good = np.flatnonzero(score >= limits.score)
    box = output[slots.boxes][good].astype(np.float32, copy=False)
    boxes = Boxes(box if to_pixels is None else to_pixels(box, view), score[good], number[good] - first_label)
    nought = np.zeros(len(good), np.int64)
    (places,) = best_of_each(boxes, nought, [view], limits, labels=len(label_names(card)), suppress=False)
    return boxes.take(places), good[places]


def _labels_and_scores(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[Ints, Floats]:
    """Which of two lists is of class numbers.

    It is the one of integers; else the one that alone holds whole numbers only, or numbers above 1; else the first, as
    exporters name them in the order of the alphabet.
    """
    kinds = [np.issubdtype(values.dtype, np.integer) for values in (first, second)]
    if kinds[0] == kinds[1]:
        kinds = [_is_numbers(first), _is_numbers(second)]
    if kinds[0] == kinds[1]:
        kinds = [bool((values > 1).any()) for values in (first, second)]
    labels, scores = (second, first) if kinds == [False, True] else (first, second)
    return whole_numbers(labels), scores.astype(np.float32, copy=False)


def _is_numbers(values: npt.NDArray[Any]) -> bool:
    return bool((values == np.round(values)).all())
