"""`retinanet`: RetinaNet and its like, with anchors: the raw heads, or what torchvision exports.

Source: Lin et al., Focal Loss for Dense Object Detection, 2017; the defaults are those of torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs, best_of_each, options_of, stacked
from cvpipe.models.chosen import ChosenOptions, read_chosen, slots_of
from cvpipe.models.grids import level_sizes
from cvpipe.models.paired import PairedOptions, good_scores, paired

Stride = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[float, Field(gt=0, le=1e5)]
Ratio = Annotated[float, Field(gt=0, le=100)]
Weight = Annotated[float, Field(gt=0)]

_MOST_GROWTH = math.log(1000 / 16)
"""Larger logarithms of sizes are cut to this, as in training."""


class RetinanetOptions(ChosenOptions, PairedOptions):
    """Options of `retinanet`."""

    strides: tuple[Stride, ...] = Field(default=(8, 16, 32, 64, 128), min_length=1, max_length=10)
    sizes: tuple[tuple[Size, ...], ...] = Field(
        default=((32, 40, 50), (64, 80, 101), (128, 161, 203), (256, 322, 406), (512, 645, 812)),
        min_length=1,
        max_length=10,
        description="Sides of the square anchors in pixels, for each stride.",
    )
    ratios: tuple[Ratio, ...] = Field(
        default=(0.5, 1.0, 2.0), min_length=1, max_length=20, description="Heights of anchors, divided by their widths."
    )
    spacing: Literal["canvas", "strides"] = Field(
        default="canvas",
        description="How far apart anchors lie: the canvas's side divided by the number of cells, rounded down "
        "(torchvision); or the stride (Detectron2, MMDetection). The same where a canvas is a multiple of all strides.",
    )
    centre: Literal["corner", "middle"] = Field(default="corner", description="Where in a cell anchors lie.")
    whole: bool = Field(default=True, description="Whether the sides of anchors lie on whole pixels.")
    weights: tuple[Weight, Weight, Weight, Weight] = Field(
        default=(1, 1, 1, 1), description="Divisors of the four numbers of a box."
    )
    activation: Literal["sigmoid", "none"] = Field(default="sigmoid", description="How logits become scores.")


class Retinanet(ObjectFamily):
    """Two layouts.

    Raw heads: logits (anchors, classes) and boxes (anchors, 4), which are shifts of the anchor's centre, in its sizes,
    and logarithms of the growth of its width and height; stride by stride, row by row, and in each cell for each ratio
    all sizes. Chosen: boxes (k, 4) in pixels of the canvas, labels (k,) and scores (k,), in whichever order.
    """

    kind = "retinanet"
    tasks = ("detection",)
    Options = RetinanetOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the outputs have one of those layouts."""
        options = options_of(self, card)
        if len(options.strides) != len(options.sizes):
            raise InvalidModel(
                f"model {card.ref}: {len(options.strides)} strides need as many lists of sizes, not "
                f"{len(options.sizes)}",
                field="options.sizes",
            )
        if len(shapes) == 3 and slots_of(shapes) is not None:
            return
        columns = _columns(card, options)
        count = len(_anchors(card.input.width, card.input.height, options))
        found = paired(shapes, columns, boxes_first=options.boxes_first, otherwise=False)
        if found is None or shapes[0][0] != count:
            raise InvalidModel(
                f"model {card.ref}: retinanet with {len(card.labels)} labels at {card.input.width}x{card.input.height} "
                f"has logits ({count}, {' or '.join(map(str, columns))}) and boxes ({count}, 4) with these anchors; or "
                f"boxes (k, 4), labels (k,) and scores (k,); this network has {list(shapes)}"
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any size."""
        options, shapes = options_of(self, card), [output.shape for output in outputs[0]]
        places = paired(shapes, _columns(card, options), boxes_first=options.boxes_first, otherwise=False)
        if places is None:
            found: list[Boxes] = []
            for output, view in zip(outputs, views, strict=True):
                slots = slots_of([part.shape for part in output])
                if slots is None:
                    raise InvalidModel(f"model {card.ref}: no retinanet has outputs of shapes {shapes}")
                found.append(read_chosen(output, slots, view, card, limits, first_label=options.first_label)[0])
            return found
        anchors = _anchors(views[0].width, views[0].height, options)
        logits = stacked(outputs, places[1])
        if logits.shape[1] != len(anchors):
            raise InvalidModel(f"model {card.ref}: {len(anchors)} anchors are not of outputs of shapes {shapes}")
        first = logits.shape[2] - len(card.labels)
        picture, place, class_id, score = good_scores(
            logits, options.activation, limits.score, classes=slice(first, None)
        )
        moves = stacked(outputs, places[0])[picture, place] / np.array(options.weights, np.float32)
        box = _moved(anchors[place], moves.astype(np.float32, copy=False))
        # Suppressed as they lie on the canvas, like where such networks come from.
        box = np.clip(box, 0, np.array([views[0].width, views[0].height] * 2, np.float32))
        boxes = Boxes(box, score, class_id)
        return [boxes.take(at) for at in best_of_each(boxes, picture, views, limits, labels=len(card.labels))]


def _columns(card: ModelCard, options: Any) -> tuple[int, ...]:
    """How many classes logits may have: as many as labels, or those before the first label too."""
    return tuple(sorted({len(card.labels), len(card.labels) + options.first_label}))


def _moved(anchors: Floats, moves: Floats) -> Floats:
    """x1, y1, x2, y2 of anchors (n, 4), given as those too, moved and grown."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + moves[:, :2] * size
    half = np.exp(np.minimum(moves[:, 2:], np.float32(_MOST_GROWTH))) * size / 2
    return np.concatenate((centre - half, centre + half), axis=1, dtype=np.float32)


@lru_cache(maxsize=8)
def _anchors(width: int, height: int, options: RetinanetOptions) -> Floats:
    """(anchors, 4): x1, y1, x2, y2 of all anchors of a canvas."""
    levels: list[Floats] = []
    grids = level_sizes(width, height, options.strides)
    for stride, sizes, (columns, rows) in zip(options.strides, options.sizes, grids, strict=True):
        root: Floats = np.sqrt(np.array(options.ratios, np.float32))[:, None]
        side: Floats = np.array(sizes, np.float32)
        half = np.concatenate((side / root, side * root), axis=0).reshape(2, -1).T / 2
        base = np.concatenate((-half, half), axis=1)
        if options.whole:
            base = base.round()
        across, down = (stride, stride) if options.spacing == "strides" else (width // columns, height // rows)
        row, column = np.mgrid[:rows, :columns]
        centre = np.stack((column, row), axis=-1).reshape(-1, 1, 2) + (0.5 if options.centre == "middle" else 0.0)
        spot = np.tile(centre * (across, down), 2)
        levels.append((spot + base).reshape(-1, 4).astype(np.float32))
    anchors = np.concatenate(levels)
    anchors.setflags(write=False)
    return anchors
