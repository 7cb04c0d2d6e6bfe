"""`nanodet`: NanoDet and NanoDet-Plus as their own exporter writes them (https://github.com/RangiLyu/nanodet).

Distances to a box's sides come as distributions: Li et al., Generalized Focal Loss, 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, FamilyOptions, Floats, Limits, ObjectFamily, Outputs, best_of_each, options_of, stacked
from cvpipe.models.activations import softmax
from cvpipe.models.grids import cell_count, cells, level_sizes

_STRIDES = ((8, 16, 32, 64), (8, 16, 32))


class NanodetOptions(FamilyOptions):
    """Options of `nanodet`."""

    centre: Literal["corner", "middle"] | None = Field(
        default=None,
        description="Where in a cell distances are measured from. Default: `corner` for NanoDet-Plus, the one with a "
        "stride of 64; `middle` for NanoDet.",
    )


class Nanodet(ObjectFamily):
    """One output (cells, classes + 4 * bins), the cells of strides 8, 16, 32 (and 64, in NanoDet-Plus) row by row.

    Columns: class scores (0 to 1), then for the left, upper, right and lower side the logits of its distance being 0,
    1, 2 ... strides. A cell may be of several classes. Or, as older exporters write it, for each stride an output
    (cells, classes) and an output (cells, 4 * bins).
    """

    kind = "nanodet"
    tasks = ("detection",)
    Options = NanodetOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the outputs have those shapes."""
        if _strides_of(shapes, card, (card.input.width, card.input.height)) is None:
            labels = len(card.labels)
            counts = [cell_count(card.input.width, card.input.height, strides) for strides in _STRIDES]
            raise InvalidModel(
                f"model {card.ref}: nanodet with {labels} labels at {card.input.width}x{card.input.height} has one "
                f"output of shape ({counts[0]} or {counts[1]}, {labels} + 4 * bins), or two for each stride; this "
                f"network has {list(shapes)}",
                field="labels",
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any size."""
        size, labels = (views[0].width, views[0].height), len(card.labels)
        shapes = [output.shape for output in outputs[0]]
        strides = _strides_of(shapes, card, size)
        if strides is None:
            raise InvalidModel(f"model {card.ref}: no nanodet has outputs of shapes {shapes} at {size[0]}x{size[1]}")
        table = stacked(outputs, 0) if len(shapes) == 1 else _joined(outputs, strides, size, labels)
        picture, place, class_id = np.nonzero(table[:, :, :labels] >= limits.score)
        rows = table[picture, place]
        cell = cells(*size, strides)[place]
        centre = options_of(self, card).centre or ("corner" if 64 in strides else "middle")
        middle = (cell[:, :2] + np.float32(0.5 if centre == "middle" else 0)) * cell[:, 2:]
        chance = softmax(rows[:, labels:].reshape(len(rows), 4, -1))
        # A sum over an axis of its own, not a product of matrices: the last digits must not depend on the rows beside.
        away = (chance * np.arange(chance.shape[2], dtype=np.float32)).sum(axis=2) * cell[:, 2:]
        # Suppressed as they lie on the canvas, as in training.
        first, last = (np.clip(side, 0, size) for side in (middle - away[:, :2], middle + away[:, 2:]))
        box = np.concatenate((first, last), axis=1, dtype=np.float32)
        boxes = Boxes(box, rows[np.arange(len(rows)), class_id], class_id)
        return [boxes.take(at) for at in best_of_each(boxes, picture, views, limits, labels=labels)]


def _strides_of(shapes: Sequence[tuple[int, ...]], card: ModelCard, size: tuple[int, int]) -> tuple[int, ...] | None:
    """The strides of a network with outputs of these shapes; None where it is no NanoDet."""
    labels = len(card.labels)
    if any(len(shape) != 2 for shape in shapes):
        return None
    for strides in _STRIDES:
        if len(shapes) == 1:
            count, columns = shapes[0]
            if count == cell_count(*size, strides) and columns > labels and (columns - labels) % 4 == 0:
                return strides
        elif len(shapes) == 2 * len(strides) and _pairs(shapes, strides, size, labels) is not None:
            return strides
    return None


def _pairs(
    shapes: Sequence[tuple[int, ...]], strides: tuple[int, ...], size: tuple[int, int], labels: int
) -> list[tuple[int, int]] | None:
    """For each stride, which output is of its class scores and which of its distances."""
    pairs: list[tuple[int, int]] = []
    for columns, rows in level_sizes(*size, strides):
        level = [i for i, shape in enumerate(shapes) if shape[0] == columns * rows]
        scores = [i for i in level if shapes[i][1] == labels]
        distances = [i for i in level if i != (scores or [-1])[0] and shapes[i][1] % 4 == 0]
        if not scores or len(distances) != 1 or len(level) != 2:
            return None
        pairs.append((scores[0], distances[0]))
    return pairs


def _joined(outputs: Sequence[Outputs], strides: tuple[int, ...], size: tuple[int, int], labels: int) -> Floats:
    """(pictures, cells, classes + 4 * bins) from two outputs for each stride."""
    pairs = _pairs([output.shape for output in outputs[0]], strides, size, labels) or []
    levels = [np.concatenate((stacked(outputs, a), stacked(outputs, b)), axis=2) for a, b in pairs]
    return np.concatenate(levels, axis=1)
