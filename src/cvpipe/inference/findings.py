"""What trials of a network have shown, to be kept: the next process need not try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(slots=True)
class Findings:
    """What trials of a network have shown.

    rows: outputs have a row for each picture. loose: its graph is run with its sizes made free. free_size, free_batch:
    what it takes then. own_batch: pictures in a call where that is not free. shapes: of the outputs for one picture.
    sizes: canvases that were tried, `WxH`, and whether it answers on them as on the card's.
    """

    rows: bool
    loose: bool
    free_size: bool
    free_batch: bool
    own_batch: int
    shapes: tuple[tuple[int, ...], ...]
    sizes: dict[str, bool] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self | None:
        """From what `to_dict` gave; None where it is not all there."""
        try:
            shapes = tuple(tuple(int(length) for length in shape) for shape in values["shapes"])
            return cls(**{**values, "shapes": shapes, "sizes": dict(values["sizes"])})
        except (KeyError, TypeError, ValueError):
            return None
