"""The tables in which Ultralytics' exporter writes boxes, and what comes with each.

Sources: https://docs.ultralytics.com/modes/export and https://github.com/ultralytics/yolov5; recorded from version
8.4.190 of its exporter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
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
    stacked,
    whole_numbers,
)
from cvpipe.models.suppression import Places

Layout = Literal["v8", "v5", "end-to-end"]

_V5_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_V5_ANCHORS = 3


class TableOptions(FamilyOptions):
    """Options of families whose boxes come in a table."""

    layout: Layout | None = Field(
        default=None,
        description="`v8`: (4 + classes + more, cells); `v5`: (cells, 5 + classes + more), with objectness; "
        "`end-to-end`: (objects, 6 + more), chosen by the network itself. Default: by the shape.",
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Boxes of all pictures whose score is good enough, and the columns that come after classes.

    picture: (n,) place in the batch, rising. boxes: n, on their canvases. more: (n, columns) float32.
    """

    picture: Ints
    boxes: Boxes
    more: Floats
    layout: Layout

    def best(self, views: Sequence[View], card: ModelCard, limits: Limits) -> list[Places]:
        """Which stay on each picture. What the network has chosen itself is not suppressed again."""
        labels = len(label_names(card))
        suppress = self.layout != "end-to-end"
        return best_of_each(self.boxes, self.picture, views, limits, labels=labels, suppress=suppress)


def layouts_of(shape: Sequence[int], card: ModelCard, *, more: int, size: tuple[int, int]) -> list[Layout]:
    """The layouts that a table of this shape can have for the card's labels and options, the likeliest first.

    more: columns after the classes. size: (width, height) of the canvas, in pixels.
    """
    if len(shape) != 2:
        return []
    classes = len(label_names(card))
    asked = card.options.get("layout")
    found: list[Layout] = []
    if shape[0] == 4 + classes + more:
        found.append("v8")
    # Other detectors have rows of this length too (YOLOX): the number of cells must be right. With one class, a row is
    # as long as one that was chosen.
    is_full = any(_V5_ANCHORS * _cells(size, strides) == shape[0] for strides in _V5_STRIDES)
    if shape[1] == 5 + classes + more and (is_full or asked == "v5"):
        found.append("v5")
    if shape[1] == 6 + more:
        found.append("end-to-end")
    return [layout for layout in found if asked in (None, layout)]


def layout_of(shape: Sequence[int], card: ModelCard, *, more: int, size: tuple[int, int]) -> Layout:
    """The likeliest layout of a table. Raises: InvalidModel where it can have none."""
    found = layouts_of(shape, card, more=more, size=size)
    if not found:
        raise InvalidModel(f"model {card.ref}: no layout of {card.family} has a table of shape {tuple(shape)}")
    return found[0]


def wanted_tables(card: ModelCard, more: str, count: int) -> str:
    """The shapes of tables that fit a card, for messages. more: what comes after the classes; count: how many."""
    classes = len(label_names(card))
    labels = f"{classes} label{'s' if classes > 1 else ''}"
    return (
        f"{card.family} with {labels}{more} has a table of shape ({4 + classes + count}, cells), "
        f"(cells, {5 + classes + count}) or, with its choice inside, (objects, {6 + count})"
    )


def read_table(outputs: Sequence[Outputs], which: int, layout: Layout, card: ModelCard, limits: Limits) -> Rows:
    """The rows of output number `which` whose score is good enough."""
    table = stacked(outputs, which)
    classes = len(label_names(card))
    if layout == "end-to-end":
        picture, place = np.nonzero(table[:, :, 4] >= limits.score)
        rows = table[picture, place].astype(np.float32, copy=False)
        boxes = Boxes(rows[:, :4], rows[:, 4], whole_numbers(rows[:, 5]))
        return Rows(picture, boxes, rows[:, 6:], layout)
    if layout == "v8":
        best = table[:, 4 : 4 + classes].max(axis=1)
        picture, place = np.nonzero(best >= limits.score)
        rows = table[picture, :, place].astype(np.float32, copy=False)
        score, first = best[picture, place], 4
    else:
        # No class score is above 1, so that objectness alone rules out most cells.
        picture, place = np.nonzero(table[:, :, 4] >= limits.score)
        rows = table[picture, place].astype(np.float32, copy=False)
        score, first = rows[:, 4] * rows[:, 5 : 5 + classes].max(axis=1, initial=0), 5
        good = np.flatnonzero(score >= limits.score)
        picture, rows, score = picture[good], rows[good], score[good]
    class_id = rows[:, first : first + classes].argmax(axis=1)
    half = rows[:, 2:4] / 2
    box = np.concatenate((rows[:, :2] - half, rows[:, :2] + half), axis=1, dtype=np.float32)
    return Rows(picture, Boxes(box, score.astype(np.float32, copy=False), class_id), rows[:, first + classes :], layout)


def _cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)
