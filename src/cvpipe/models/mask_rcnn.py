"""`mask-rcnn`: Mask R-CNN and Faster R-CNN as torchvision exports them, and networks with the same outputs.

Source: He et al., Mask R-CNN, 2017; https://pytorch.org/vision/stable/models.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard
from cvpipe.models import Boxes, Floats, Limits, ObjectFamily, Outputs, Patch, options_of
from cvpipe.models.chosen import ChosenOptions, read_chosen, slots_of


class MaskRcnn(ObjectFamily):
    """Boxes (k, 4), labels (k,), scores (k,), in whichever order, and masks (k, 1, h, w) where there are any.

    Boxes are x1, y1, x2, y2 in pixels of the canvas. Masks are 0 to 1, on a grid over each box (mostly 28 by 28; beyond
    it they are 0), or, where they are of the canvas's size, over all of it. Numbers of labels: see `first_label`;
    `labels: coco91` has the 91 places of torchvision's networks. Nothing is suppressed again.
    """

    kind = "mask-rcnn"
    tasks = ("instance-segmentation", "detection")
    Options = ChosenOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there are such outputs."""
        slots = slots_of(shapes)
        masks = card.task == "instance-segmentation"
        if slots is None or slots.counted or (masks and slots.masks is None):
            raise InvalidModel(
                f"model {card.ref}: mask-rcnn for {card.task} has boxes (k, 4), labels (k,) and scores (k,)"
                f"{' and masks (k, 1, h, w)' if masks else ''}; this network has {list(shapes)}",
                field="task" if slots is not None and slots.masks is None else None,
            )

    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes and masks on canvases of any size."""
        first_label = options_of(self, card).first_label
        found: list[Boxes] = []
        for output, view in zip(outputs, views, strict=True):
            slots = slots_of([part.shape for part in output])
            if slots is None:
                shapes = [part.shape for part in output]
                raise InvalidModel(f"model {card.ref}: the network's outputs changed their shapes: {shapes}")
            boxes, places = read_chosen(output, slots, view, card, limits, first_label=first_label)
            if slots.masks is not None and limits.masks and card.task == "instance-segmentation":
                grids = output[slots.masks]
                grids = grids.reshape(len(grids), *grids.shape[-2:])
                pairs = zip(places.tolist(), boxes.box, strict=True)
                boxes = replace(boxes, mask=tuple(_patch(grids[i], box, view) for i, box in pairs))
            found.append(boxes)
        return found


def _patch(grid: Floats, box: Floats, view: View) -> Patch:
    """Of a grid over the box with a ring of zeros around it, or of the part of one over the canvas that it touches."""
    if grid.shape != (view.height, view.width):
        ring = (box[2:] - box[:2]) / grid.shape[::-1]
        return Patch(
            np.concatenate((box[:2] - ring, box[2:] + ring), dtype=np.float32), np.pad(grid, 1).astype(np.float32)
        )
    first = np.clip(np.floor(box[:2]) - 1, 0, (view.width, view.height)).astype(int)
    last = np.clip(np.ceil(box[2:]) + 1, first, (view.width, view.height)).astype(int)
    part = grid[first[1] : last[1], first[0] : last[0]]
    return Patch(np.concatenate((first, last)).astype(np.float32), part.astype(np.float32, copy=False))
