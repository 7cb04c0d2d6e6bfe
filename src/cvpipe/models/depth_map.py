"""`depth-map`: how far away things are (MiDaS, Depth Anything, ZoeDepth, Metric3D and the like)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import FamilyOptions, MapFamily, Outputs, options_of, stacked


class DepthMapOptions(FamilyOptions):
    """What the card's `options` may say."""

    output: int = Field(default=0, ge=0, description="Which output it is, from 0, where there are several.")
    metric: bool = Field(
        default=False,
        description="Values are distances in metres, times `per_metre`. Otherwise they are relative: comparable within "
        "a frame only, and larger is nearer in most networks.",
    )
    per_metre: float = Field(default=1.0, gt=0, description="What the network says for one metre.")


class DepthMap(MapFamily):
    """An output (h, w), (1, h, w) or (h, w, 1): one quantity for each cell of a grid that covers all of the canvas."""

    kind = "depth-map"
    tasks = ("depth",)
    Options = DepthMapOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the output is of one of these shapes."""
        options: DepthMapOptions = options_of(self, card)
        shape = shapes[options.output] if options.output < len(shapes) else ()
        if len(shape) != 2 and not (len(shape) == 3 and 1 in (shape[0], shape[2])):
            raise InvalidModel(
                f"model {card.ref}: depth-map has an output of shape (h, w), (1, h, w) or (h, w, 1); output "
                f"{options.output} of this network has {list(shapes)}"
            )

    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> npt.NDArray[Any]:  # noqa: ARG002 - the grid is of any size
        """(n, h, w) float32: metres, or what the network says."""
        options: DepthMapOptions = options_of(self, card)
        maps = stacked(outputs, options.output)
        if maps.ndim == 4:
            maps = maps[:, 0] if maps.shape[1] == 1 else maps[..., 0]
        maps = maps.astype(np.float32, copy=False)
        return maps / np.float32(options.per_metre) if options.metric else maps
