"""A neural network as stages and other networks see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cvpipe.frames import View


class Network(Protocol):
    """A neural network ready to run; made by `Tools.network`. Safe to call from several threads."""

    @property
    def card(self) -> Any:
        """The model's card (`cvpipe.inference.cards.ModelCard`)."""
        ...

    @property
    def batch(self) -> int:
        """How many pictures to hand over in one call for best use of the device; 1 on a CPU."""
        ...

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs for one picture of the card's size, without the batch dimension."""
        ...

    def input_view(self, upstream: View) -> View:
        """The view that the network wants of a frame of which earlier steps made `upstream`."""
        ...

    def run(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Any]:
        """Raw outputs for each picture (of the shape of `input_view`): arrays without the batch dimension.

        Of a captioner: what it says.
        """
        ...
