"""PP-OCR's angle networks: is a line of text upside down, for `read_text`'s option `angle`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard, Task
from cvpipe.inference.ppocr import AngleOptions
from cvpipe.models import Family, FamilyOptions


class PpocrAngleOptions(AngleOptions, FamilyOptions):
    """When a line counts as upside down."""


class PpocrAngle(Family):
    """Its outputs are read by `cvpipe.inference.textnets`; this one knows its options."""

    kind = "ppocr-angle"
    tasks: ClassVar[tuple[Task, ...]] = ("text",)
    Options = PpocrAngleOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel where the output is not (2,), for 0 and 180 degrees."""
        if len(shapes) != 1 or shapes[0] != (2,):
            raise InvalidModel(f"model {card.ref}: wanted (2,), for 0 and 180 degrees, got {list(shapes)}")
