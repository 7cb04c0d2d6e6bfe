"""`ssd`: SSD and its like: a box and scores for each of many places, decoded, raw, or chosen by the network.

Source: Liu et al., SSD: Single Shot MultiBox Detector, 2016; TensorFlow's object detection API.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs, best_of_each, options_of, stacked
from cvpipe.models.chosen import ChosenOptions, read_chosen, slots_of
from cvpipe.models.grids import cells, level_sizes
from cvpipe.models.paired import Activation, PairedOptions, from_centres, good_scores, paired

Corners = Literal["xyxy", "yxyx", "cxcywh"]
Stride = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[float, Field(gt=0, le=1e5)]
Shape = tuple[Size, Size]


class Priors(BaseModel):
    """The boxes that a raw network moves: those of each cell, stride by stride, row by row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strides: tuple[Stride, ...] = Field(min_length=1, max_length=10, description="Sides of cells in pixels.")
    shapes: tuple[tuple[Shape, ...], ...] = Field(
        min_length=1, max_length=10, description="For each stride: width and height of each prior of a cell, in pixels."
    )


class SsdOptions(ChosenOptions, PairedOptions):
    """Options of `ssd`."""

    corners: Corners | None = Field(
        default=None,
        description="What the four numbers of a box are: left, top, right, bottom; top, left, bottom, right; or centre "
        "x, centre y, width, height. Default: `yxyx` where an output tells how many objects there are (TensorFlow), "
        "`cxcywh` of shifts with priors, else `xyxy`.",
    )
    units: Literal["share", "pixels"] = Field(default="share", description="Of the canvas, or its pixels.")
    background: Literal["first", "last"] | None = Field(
        default=None, description="Which column of scores is no label. Default: the first, where there is one more."
    )
    activation: Activation = Field(default="none", description="How the scores of classes become 0 to 1.")
    priors: Priors | None = Field(default=None, description="What boxes are shifts of. Default: they are none.")
    variances: tuple[Size, Size] = Field(
        default=(0.1, 0.2), description="Factors of a box's shifts: of centres, and of logarithms of sizes."
    )


class Ssd(ObjectFamily):
    """Two layouts. Boxes are shares of the canvas where options say nothing else.

    Boxes (n, 4) and scores (n, classes), maybe with a background: suppressed here. Raw networks need `priors`. Chosen
    by the network: boxes (k, 4), labels (k,), scores (k,), and in TensorFlow's layout how many there are, in any order.
    """

    kind = "ssd"
    tasks = ("detection", "faces")
    Options = SsdOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the outputs have one of those layouts."""
        options = options_of(self, card)
        slots = slots_of(shapes)
        if slots is not None and slots.masks is None:
            return
        labels, priors = len(card.labels), options.priors
        if paired(shapes, _columns(card, options), boxes_first=options.boxes_first, otherwise=True) is None:
            raise InvalidModel(
                f"model {card.ref}: ssd with {labels} labels has boxes (n, 4) and scores (n, {labels} or "
                f"{labels + 1}); or boxes (k, 4), labels (k,) and scores (k,). This network has {list(shapes)}",
                field="labels",
            )
        if priors is None:
            return
        if len(priors.strides) != len(priors.shapes):
            raise InvalidModel(
                f"model {card.ref}: {len(priors.strides)} strides need as many lists of shapes, not "
                f"{len(priors.shapes)}",
                field="options.priors.shapes",
            )
        count = len(_priors(card.input.width, card.input.height, priors))
        if shapes[0][0] != count:
            raise InvalidModel(
                f"model {card.ref}: there are {count} priors, the network has {shapes[0][0]}", field="options.priors"
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any size."""
        options, shapes = options_of(self, card), [output.shape for output in outputs[0]]
        places = paired(shapes, _columns(card, options), boxes_first=options.boxes_first, otherwise=True)
        if places is None:
            return self._chosen(outputs, views, card, limits)
        scores, labels = stacked(outputs, places[1]), len(card.labels)
        first = scores.shape[2] - labels if options.background != "last" else 0
        classes = slice(first, first + labels)
        picture, place, class_id, score = good_scores(scores, options.activation, limits.score, classes=classes)
        box = stacked(outputs, places[0])[picture, place].astype(np.float32, copy=False)
        width, height = views[0].width, views[0].height
        if options.priors is None:
            box = _in_pixels(box, options.corners or "xyxy", options.units, views[0])
        else:
            priors = _priors(width, height, options.priors)
            if len(priors) != scores.shape[1]:
                raise InvalidModel(f"model {card.ref}: {len(priors)} priors are not of outputs of shapes {shapes}")
            box = _moved(priors[place], box[:, [1, 0, 3, 2]] if options.corners == "yxyx" else box, options.variances)
        # Suppressed as they lie on the canvas, as TensorFlow and torchvision do.
        boxes = Boxes(np.clip(box, 0, np.array([width, height] * 2, np.float32)), score, class_id)
        return [boxes.take(at) for at in best_of_each(boxes, picture, views, limits, labels=labels)]

    def _chosen(
        self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits
    ) -> list[Boxes]:
        options = options_of(self, card)
        found: list[Boxes] = []
        for output, view in zip(outputs, views, strict=True):
            slots = slots_of([part.shape for part in output])
            if slots is None:
                shapes = [part.shape for part in output]
                raise InvalidModel(f"model {card.ref}: no ssd has outputs of shapes {shapes}")
            corners: Corners = options.corners or ("yxyx" if slots.counted else "xyxy")

            def to_pixels(box: Floats, view: View, corners: Corners = corners) -> Floats:
                return _in_pixels(box, corners, options.units, view)

            first_label = options.first_label
            boxes, _ = read_chosen(output, slots, view, card, limits, first_label=first_label, to_pixels=to_pixels)
            found.append(boxes)
        return found


def _columns(card: ModelCard, options: SsdOptions) -> tuple[int, ...]:
    labels = len(card.labels)
    return (labels + 1,) if options.background else (labels, labels + 1)


def _in_pixels(box: Floats, corners: Corners, units: Literal["share", "pixels"], view: View) -> Floats:
    """x1, y1, x2, y2 in pixels of the canvas."""
    if corners == "yxyx":
        box = box[:, [1, 0, 3, 2]]
    elif corners == "cxcywh":
        box = from_centres(box)
    return box * np.array([view.width, view.height] * 2, np.float32) if units == "share" else box


def _moved(priors: Floats, moves: Floats, variances: tuple[float, float]) -> Floats:
    """x1, y1, x2, y2 of priors (n, 4), given as centres and sizes, moved and grown."""
    centre = priors[:, :2] + moves[:, :2] * np.float32(variances[0]) * priors[:, 2:]
    half = priors[:, 2:] * np.exp(moves[:, 2:] * np.float32(variances[1])) / 2
    return np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32)


@lru_cache(maxsize=8)
def _priors(width: int, height: int, priors: Priors) -> Floats:
    """(priors, 4): centre x, centre y, width, height of all priors of a canvas, in pixels."""
    levels: list[Floats] = []
    for stride, shapes in zip(priors.strides, priors.shapes, strict=True):
        ((columns, rows),) = level_sizes(width, height, (stride,))
        centre = (cells(width, height, (stride,))[:, :2] + 0.5) * stride
        size = np.array(shapes, np.float32).reshape(-1, 2)
        spots = np.repeat(centre, len(size), axis=0)
        levels.append(np.concatenate((spots, np.tile(size, (columns * rows, 1))), axis=1, dtype=np.float32))
    table = np.concatenate(levels)
    table.setflags(write=False)
    return table
