"""PP-OCR's text detectors (DB): a map that says where lines of text are, for `read_text`'s option `detector`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard, Task
from cvpipe.inference.ppocr import DetectionOptions
from cvpipe.models import Family, FamilyOptions


class PpocrDetectionOptions(DetectionOptions, FamilyOptions):
    """How boxes are made from the map."""


class PpocrDetection(Family):
    """Its outputs are read by `cvpipe.inference.textnets`; this one knows its options."""

    kind = "ppocr-detection"
    tasks: ClassVar[tuple[Task, ...]] = ("text",)
    Options = PpocrDetectionOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel where the output is not one map (1, height, width)."""
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1:
            raise InvalidModel(f"model {card.ref}: wanted one map (1, height, width), got {list(shapes)}")
