"""PP-OCR's recognisers: what a line of text says, for `read_text`'s option `recogniser`.

The characters are in the network's metadata (`character`), or in the card's file `dictionary`, one a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard, Task
from cvpipe.inference.ppocr import RecognitionOptions
from cvpipe.models import Family, FamilyOptions


class PpocrRecognitionOptions(RecognitionOptions, FamilyOptions):
    """None; the characters are a file, or in the network."""


class PpocrRecognition(Family):
    """Its outputs are read by `cvpipe.inference.textnets`; this one knows its options."""

    kind = "ppocr-recognition"
    tasks: ClassVar[tuple[Task, ...]] = ("text",)
    Options = PpocrRecognitionOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel where the output is not one table (steps, characters)."""
        if len(shapes) != 1 or len(shapes[0]) != 2:
            raise InvalidModel(f"model {card.ref}: wanted one table (steps, characters), got {list(shapes)}")
