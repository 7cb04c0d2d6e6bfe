"""Reading text: find lines, cut them out, turn them upright, read them.

With PP-OCR's networks: those in the package `rapidocr`, of which only the ONNX files are used, or a user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image
from cvpipe.inference.textnets import LineDetector, LineReader, LineTurner

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TextLine:
    """A line of text in a picture.

    quad: (4, 2) float32, corners in pixels of the picture, clockwise from the top left one as the text is read.
    score: mean probability of the characters, 0 to 1.
    """

    quad: Floats
    text: str
    score: float

    @property
    def box(self) -> Floats:
        """(4,) x1, y1, x2, y2 around the corners."""
        return np.concatenate((self.quad.min(axis=0), self.quad.max(axis=0)))


class TextReader:
    """Finds and reads lines of text. Safe to call from several threads; equal pictures give equal results."""

    def __init__(
        self, cv2: Any, *, detector: LineDetector, recogniser: LineReader, angle: LineTurner | None = None
    ) -> None:
        """angle: default: lines are taken as upright."""
        self._cv2 = cv2
        self._detector, self._recogniser, self._turner = detector, recogniser, angle

    @property
    def batch(self) -> int:
        """How many pictures to hand over in one call for best use of the device; 1 on a CPU."""
        return self._detector.batch

    def read(self, images: Sequence[Image], *, max_side: int, min_score: float = 0.0) -> list[list[TextLine]]:
        """The lines of text in each picture, (height, width, 3) BGR, from top to bottom, then from left to right.

        max_side: a picture is made smaller for detection where its longer side has more pixels; lines are cut out of
        the full picture. min_score: lines with a lower score are left out. The lines of all pictures are read together.
        """
        quads = self.find(images, max_side=max_side)
        lines = [self.cut(image, quad) for image, some in zip(images, quads, strict=True) for quad in some]
        read = iter(self.recognise(lines if self._turner is None else self._turner.upright(lines)))
        return [
            [
                TextLine(quad, text, score)
                for quad, (text, score) in zip(some, read, strict=False)  # the next picture's lines follow
                if text.strip() and score >= min_score
            ]
            for some in quads
        ]

    def find(self, images: Sequence[Image], *, max_side: int) -> list[list[Floats]]:
        """The corners of each line of text in each picture, (4, 2), in reading order."""
        return [_in_reading_order(quads) for quads in self._detector.find(images, max_side=max_side)]

    def cut(self, image: Image, quad: Floats) -> Image:
        """The part of `image` inside the four corners, upright: (height, width, 3)."""
        cv2 = self._cv2
        across = max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3]))
        down = max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))
        width, height = max(1, round(float(across))), max(1, round(float(down)))
        target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
        line = cv2.warpPerspective(
            image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        # Much taller than wide: a line that runs downwards.
        return np.rot90(line) if height >= 1.5 * width else line

    def recognise(self, lines: Sequence[Image]) -> list[tuple[str, float]]:
        """Text and score of each picture of one line, (height, width, 3) BGR."""
        return self._recogniser.read(lines)


def _in_reading_order(quads: list[Floats]) -> list[Floats]:
    """Rows from the top; a box belongs to a row where its middle lies beside the row's first box."""
    rows: list[list[Floats]] = []
    for quad in sorted(quads, key=lambda q: (float(q[:, 1].mean()), float(q[:, 0].min()))):
        first = rows[-1][0] if rows else None
        if first is not None and first[:, 1].min() <= quad[:, 1].mean() <= first[:, 1].max():
            rows[-1].append(quad)
        else:
            rows.append([quad])
    return [quad for row in rows for quad in sorted(row, key=lambda q: float(q[:, 0].min()))]
