"""`drawn`: boxes, keypoints and masks from one network without anchors, as `training/` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import (
    Boxes,
    FamilyOptions,
    Floats,
    Limits,
    ObjectFamily,
    Outputs,
    Patch,
    best_of_each,
    options_of,
    stacked,
)
from cvpipe.models.activations import sigmoid

_STRIDES = (8, 16, 32)


class DrawnOptions(FamilyOptions):
    """Options of `drawn`."""

    jointed: tuple[str, ...] | None = Field(
        default=None, description="Labels of the classes that have keypoints. Default: all."
    )


class Drawn(ObjectFamily):
    """Two outputs: a table (cells, classes + 4 + 3 k + p), and prototypes of masks (p, h / 4, w / 4).

    Cells of strides 8, 16 and 32 row by row. Columns: class scores with the sigmoid applied; distances from the cell's
    middle to the left, top, right and bottom edge in strides; x and y of each keypoint from there in strides; scores of
    keypoints with the sigmoid applied; coefficients. A mask is the sigmoid of the sum of prototypes, each times its
    coefficient.
    """

    kind = "drawn"
    tasks = ("instance-segmentation", "pose", "detection")
    Options = DrawnOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there are such a table and its prototypes."""
        width, height = card.input.width, card.input.height
        named = len(card.labels) + 4 + 3 * len(card.keypoints)
        fits = False
        if [len(shape) for shape in shapes] == [2, 3]:
            (cells, columns), (prototypes, rows, across) = shapes
            fits = cells == len(_cells(width, height)) and columns == named + prototypes
            fits &= (rows, across) == (height // 4, width // 4)
        if not fits:
            raise InvalidModel(
                f"model {card.ref}: drawn with {len(card.labels)} labels and {len(card.keypoints)} keypoints at "
                f"{width}x{height} has outputs of shape ({len(_cells(width, height))}, {named} + p) and "
                f"(p, {height // 4}, {width // 4}), this network has {list(shapes)}"
            )
        for label in options_of(self, card).jointed or ():
            if label not in card.labels:
                raise InvalidModel(f"model {card.ref}: {label!r} is none of its labels", field="options.jointed")

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The objects on canvases of any multiple of 32 pixels; keypoints of what has none are not numbers."""
        table, classes, points = stacked(outputs, 0), len(card.labels), len(card.keypoints)
        picture, place = np.nonzero(table[:, :, :classes].max(axis=2) >= limits.score)
        rows = table[picture, place].astype(np.float32, copy=False)
        cells = _cells(views[0].width, views[0].height)[place]
        boxes = _boxes(rows, cells, classes)
        if points:
            keypoints = _keypoints(rows[:, classes + 4 :], cells, points)
            jointed = options_of(self, card).jointed
            if jointed is not None:
                has = np.array([label in jointed for label in card.labels])
                keypoints[~has[boxes.class_id]] = np.nan
            boxes = replace(boxes, keypoints=keypoints)
        mix = rows[:, classes + 4 + 3 * points :]
        found = []
        for output, places in zip(outputs, best_of_each(boxes, picture, views, limits, labels=classes), strict=True):
            some = boxes.take(places)
            if limits.masks:
                pairs = zip(mix[places], some.box, strict=True)
                some = replace(some, mask=tuple(_patch(output[1], weights, box) for weights, box in pairs))
            found.append(some)
        return found


def _boxes(rows: Floats, cells: Floats, classes: int) -> Boxes:
    middle, stride = cells[:, :2], cells[:, 2:]
    first = middle - rows[:, classes : classes + 2] * stride
    last = middle + rows[:, classes + 2 : classes + 4] * stride
    return Boxes(np.concatenate((first, last), axis=1), rows[:, :classes].max(axis=1), rows[:, :classes].argmax(axis=1))


def _keypoints(columns: Floats, cells: Floats, points: int) -> Floats:
    at = columns[:, : 2 * points].reshape(-1, points, 2) * cells[:, None, 2:] + cells[:, None, :2]
    return np.concatenate((at, columns[:, 2 * points : 3 * points, None]), axis=2)


def _patch(prototypes: Floats, weights: Floats, box: Floats) -> Patch:
    """The cells of the prototypes that an object's box touches, and one more on each side to blend with."""
    size = np.array(prototypes.shape[:0:-1])
    first = np.clip(np.floor(box[:2] / 4) - 1, 0, size).astype(int)
    last = np.clip(np.ceil(box[2:] / 4) + 1, first, size).astype(int)
    part = prototypes[:, first[1] : last[1], first[0] : last[0]]
    return Patch(np.concatenate((first, last)).astype(np.float32) * 4, sigmoid(np.tensordot(weights, part, axes=1)))


@lru_cache(maxsize=64)
def _cells(width: int, height: int) -> Floats:
    """(cells, 3): x and y of the middle in pixels, and stride."""
    levels = []
    for stride in _STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        middle = (np.stack((x.ravel(), y.ravel()), axis=1) + 0.5) * stride
        levels.append(np.concatenate((middle, np.full((len(middle), 1), stride)), axis=1))
    return np.concatenate(levels).astype(np.float32)
