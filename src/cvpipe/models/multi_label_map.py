"""`multi-label-map`: for each cell of a grid how likely each label is, several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import FamilyOptions, MapFamily, Outputs, options_of, stacked


class MultiLabelMapOptions(FamilyOptions):
    """What the card's `options` may say."""

    output: int = Field(default=0, ge=0, description="Which output it is, from 0, where there are several.")
    activation: Literal["none", "sigmoid"] = Field(
        default="none", description="`sigmoid`: the network gives logits; `none`: it gives 0 to 1."
    )


class MultiLabelMap(MapFamily):
    """An output (labels, h, w) or (h, w, labels): of logits or of 0 to 1, each label by itself.

    The grid covers all of the canvas. Of human parsing with parts that overlap, of masks of one class (matting, salient
    objects: one label, (1, h, w) or (h, w)).
    """

    kind = "multi-label-map"
    tasks = ("human-parsing", "semantic-segmentation")
    Options = MultiLabelMapOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the output is of one of the layouts, with as many layers as labels."""
        options: MultiLabelMapOptions = options_of(self, card)
        count = len(card.labels)
        shape = shapes[options.output] if options.output < len(shapes) else ()
        if not (len(shape) == 3 and count in (shape[0], shape[2])) and not (len(shape) == 2 and count == 1):
            raise InvalidModel(
                f"model {card.ref}: multi-label-map with {count} labels has an output of shape ({count}, h, w) or "
                f"(h, w, {count}); output {options.output} of this network has {list(shapes)}",
                field="labels",
            )

    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> npt.NDArray[Any]:  # noqa: ARG002 - the grid is of any size
        """(n, labels, h, w) float32, 0 to 1."""
        options: MultiLabelMapOptions = options_of(self, card)
        maps = stacked(outputs, options.output)
        if maps.ndim == 3:
            maps = maps[:, None]
        elif maps.shape[1] != len(card.labels):
            maps = maps.transpose(0, 3, 1, 2)
        maps = maps.astype(np.float32, copy=False)
        return maps if options.activation == "none" else 1 / (1 + np.exp(-maps.clip(-60, 60)))
