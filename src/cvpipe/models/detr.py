"""`detr`: detectors with queries, which find each thing once: DETR, RT-DETR, D-FINE, DEIM, RF-DETR, YOLOS.

Source: Carion et al., End-to-End Object Detection with Transformers, 2020; the layouts are those of the networks' own
exporters, of Ultralytics and of Hugging Face's transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Limits, ObjectFamily, Outputs, best_of_each, options_of, stacked, whole_numbers
from cvpipe.models.chosen import ChosenOptions, read_chosen, slots_of
from cvpipe.models.paired import Activation, PairedOptions, from_centres, good_scores, paired

Layout = Literal["chosen", "paired", "table", "top"]

_TOP_COLUMNS = 6


class DetrOptions(ChosenOptions, PairedOptions):
    """Options of `detr`."""

    activation: Literal["sigmoid", "softmax"] | None = Field(
        default=None,
        description="How logits become scores. Default: `softmax` where there is one class more than labels, `no "
        "object` as the last; else `sigmoid`. RF-DETR has one more, and `sigmoid`.",
    )
    top: bool | None = Field(
        default=None,
        description="Whether the only output is (objects, 6) with score and class, rather than a score for each class. "
        "Default: by the number of columns; matters where there are two labels.",
    )


class Detr(ObjectFamily):
    """Several layouts, told apart by shapes. Nothing is suppressed; boxes are shares of the canvas but for the first.

    Labels (k,), boxes (k, 4) and scores (k,): chosen by the network, x1, y1, x2, y2 in pixels of the size it is fed
    (`input.extra: {orig_target_sizes: size_wh}`): the exporters of RT-DETR, D-FINE and DEIM. Logits (queries, classes)
    or (queries, classes + 1) and boxes (queries, 4) of centres and sizes: transformers, and RF-DETR with boxes first.
    One output (queries, 4 + classes) of centres, sizes and scores, or (objects, 6) with score and class after the box:
    Ultralytics' RT-DETR.
    """

    kind = "detr"
    tasks = ("detection",)
    Options = DetrOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the outputs have one of those layouts."""
        if self._layout(shapes, card) is None:
            n = len(card.labels)
            raise InvalidModel(
                f"model {card.ref}: detr with {n} labels has labels (k,), boxes (k, 4) and scores (k,); or logits "
                f"(queries, {n} or {n + 1}) and boxes (queries, 4); or one output (queries, {4 + n}) or (objects, "
                f"{_TOP_COLUMNS}); this network has {list(shapes)}",
                field="labels",
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on canvases of any size."""
        shapes = [output.shape for output in outputs[0]]
        layout, options = self._layout(shapes, card), options_of(self, card)
        if layout == "chosen":
            found: list[Boxes] = []
            for output, view in zip(outputs, views, strict=True):
                slots = slots_of([part.shape for part in output])
                if slots is None:
                    raise InvalidModel(f"model {card.ref}: the network's outputs changed their shapes: {shapes}")
                found.append(read_chosen(output, slots, view, card, limits, first_label=options.first_label)[0])
            return found
        size = np.array([views[0].width, views[0].height] * 2, np.float32)
        labels = len(card.labels)
        if layout == "top":
            table = stacked(outputs, 0)
            picture, place = np.nonzero(table[:, :, 4] >= limits.score)
            rows = table[picture, place]
            box, score, class_id = rows[:, :4], rows[:, 4], whole_numbers(rows[:, 5])
        elif layout == "table":
            table, classes = stacked(outputs, 0), slice(4, 4 + labels)
            picture, place, class_id, score = good_scores(table, "none", limits.score, classes=classes, best_only=True)
            box = table[picture, place, :4]
        else:
            places = paired(shapes, (labels, labels + 1), boxes_first=options.boxes_first, otherwise=False)
            if places is None:
                raise InvalidModel(f"model {card.ref}: no detr has outputs of shapes {shapes}")
            logits = stacked(outputs, places[1])
            how: Activation = options.activation or ("softmax" if logits.shape[2] > labels else "sigmoid")
            best_only = how == "softmax"  # a query says what it saw, or that it saw nothing
            picture, place, class_id, score = good_scores(
                logits, how, limits.score, classes=slice(labels), best_only=best_only
            )
            box = stacked(outputs, places[0])[picture, place]
        boxes = Boxes(from_centres(box) * size, score.astype(np.float32, copy=False), class_id)
        stay = best_of_each(boxes, picture, views, limits, labels=labels, suppress=False)
        return [boxes.take(at) for at in stay]

    def _layout(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> Layout | None:
        options, labels = options_of(self, card), len(card.labels)
        if paired(shapes, (labels, labels + 1), boxes_first=options.boxes_first, otherwise=False):
            return "paired"
        if len(shapes) == 3 and slots_of(shapes) is not None:
            return "chosen"
        if len(shapes) == 1 and len(shapes[0]) == 2:
            columns = shapes[0][1]
            if columns == 4 + labels and not options.top:
                return "table"
            if columns == _TOP_COLUMNS and options.top is not False:
                return "top"
        return None
