"""`semantic-map`: one class for each cell of a grid: logits, probabilities, or the classes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import FamilyOptions, MapFamily, Outputs, Winners, options_of, stacked

Layout = Literal["nchw", "nhwc", "classes"]


class SemanticMapOptions(FamilyOptions):
    """What the card's `options` may say."""

    output: int = Field(default=0, ge=0, description="Which output it is, from 0, where there are several.")
    layout: Layout | None = Field(
        default=None,
        description="`nchw`: (classes, h, w); `nhwc`: (h, w, classes); `classes`: the numbers of the classes. Default: "
        "what the shape says.",
    )


class SemanticMap(MapFamily):
    """An output (classes, h, w) or (h, w, classes), the highest value wins; or (h, w) of class numbers.

    The grid covers all of the canvas. Of semantic segmentation (DeepLab, SegFormer, BiSeNet, PP-LiteSeg, ...) and of
    human parsing with one part for each pixel (SCHP and the like).
    """

    kind = "semantic-map"
    tasks = ("semantic-segmentation", "human-parsing")
    Options = SemanticMapOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the output is of one of the layouts, with as many classes as labels."""
        _layout(shapes, options_of(self, card), card)

    def winners(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> Winners | None:
        """The class of each cell, where there is a value for each class."""
        options: SemanticMapOptions = options_of(self, card)
        layout = _layout(shapes, options, card)
        if layout == "classes":
            return None
        return Winners(options.output, 0 if layout == "nchw" else 2, {"output": 0, "layout": "classes"})

    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> npt.NDArray[Any]:  # noqa: ARG002 - the grid is of any size
        """(n, h, w) places in the card's labels, integers. A number beyond them is what it is, and means nothing."""
        options: SemanticMapOptions = options_of(self, card)
        layout = _layout([output.shape for output in outputs[0]], options, card)
        maps = stacked(outputs, options.output)
        if layout == "classes":
            n, *sides = maps.shape
            height, width = (side for side in sides if side != 1) if len(sides) == 3 else sides
            cells = maps.reshape(n, height, width)
            return cells.astype(np.int64) if cells.dtype.kind == "f" else cells
        found: npt.NDArray[np.int64] = maps.argmax(axis=1 if layout == "nchw" else 3)
        return found


def _layout(shapes: Sequence[tuple[int, ...]], options: SemanticMapOptions, card: ModelCard) -> Layout:
    count = len(card.labels)
    shape = shapes[options.output] if options.output < len(shapes) else ()
    fits: list[Layout] = []
    if len(shape) == 3 and shape[0] == count and count > 1:
        fits.append("nchw")
    if len(shape) == 3 and shape[2] == count and count > 1:
        fits.append("nhwc")
    if len(shape) == 2 or (len(shape) == 3 and sum(side != 1 for side in shape) == 2):
        fits.append("classes")
    if options.layout in fits or (fits and options.layout is None):
        return options.layout or fits[0]
    raise InvalidModel(
        f"model {card.ref}: semantic-map with {count} labels has an output of shape ({count}, h, w), "
        f"(h, w, {count}) or (h, w); output {options.output} of this network has {list(shapes)}",
        field="labels",
    )
