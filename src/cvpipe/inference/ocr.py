"""Reading text with the PP-OCR networks in the package `rapidocr`: find lines, cut them out, recognise them.

Of that package only the two ONNX files are used. Detection is Differentiable Binarization (Liao et al., 2020,
https://arxiv.org/abs/1911.08947), recognition ends in a greedy CTC decoder (Graves et al., 2006).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.errors import ExtraMissing
from cvpipe.frames import Image
from cvpipe.inference.devices import Device, is_gpu
from cvpipe.inference.sessions import open_session, run_session

Floats = npt.NDArray[np.float32]

_DETECTOR = "PP-OCRv6_det_small.onnx"
_RECOGNISER = "PP-OCRv6_rec_small.onnx"

_STEP = 32  # the detector's coarsest stride
_TEXT_PIXEL = 0.3  # probability from which a pixel is text
_TEXT_BOX = 0.5  # mean probability from which a box is text
_GROW = 1.6  # the detector draws lines thinner than they are; its authors' unclip ratio
_MIN_SIDE = 3  # pixels of the detector's map
_MAX_LINES = 200

_HEIGHT = 48  # of a line, as the recogniser was trained
_WIDTH_STEP = 32
_MAX_WIDTH = 2048
_GPU_LINES = 8


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

    def __init__(self, cv2: Any, *, device: Device) -> None:
        """Raises: ExtraMissing without the package `rapidocr`."""
        self._cv2 = cv2
        self._detector = open_session(_packaged(_DETECTOR), device=device)
        self._recogniser = open_session(_packaged(_RECOGNISER), device=device)
        # The character of each class: the blank of CTC, those that the file names, and the space.
        named = self._recogniser.get_modelmeta().custom_metadata_map["character"]
        self._alphabet = ["", *named.splitlines(), " "]
        # On a CPU with one thread a batch gains nothing, and its last digits differ from those of single lines.
        self._lines = _GPU_LINES if is_gpu(device) else 1

    def read(self, image: Image, *, max_side: int, min_score: float = 0.0) -> list[TextLine]:
        """The lines of text in `image`, (height, width, 3) BGR, from the top to the bottom, then from left to right.

        max_side: the picture is made smaller for detection where its longer side has more pixels; lines are cut out of
        the full picture. min_score: lines with a lower score are left out.
        """
        quads = self.find(image, max_side=max_side)
        read = self.recognise([self.cut(image, quad) for quad in quads])
        return [
            TextLine(quad, text, score)
            for quad, (text, score) in zip(quads, read, strict=True)
            if text.strip() and score >= min_score
        ]

    def find(self, image: Image, *, max_side: int) -> list[Floats]:
        """The corners of each line of text in `image`, (4, 2), in reading order."""
        height, width = image.shape[:2]
        scale = min(1.0, max_side / max(height, width))
        size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height)]
        small = self._cv2.resize(
            image, size, interpolation=self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR
        )
        (probability,) = run_session(self._detector, {"x": _normalised([small], size[0])})
        quads = self._quads(probability[0, 0])
        factor = np.array([width / size[0], height / size[1]], np.float32)
        return _in_reading_order([quad * factor for quad in quads])

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
        """Text and score of each picture of one line, (height, width, 3) BGR.

        Lines of like width share a batch. A line's padding depends on its own width alone, and so does its result.
        """
        sized = [self._resized(line) for line in lines]
        widths = [-(-line.shape[1] // _WIDTH_STEP) * _WIDTH_STEP for line in sized]
        results = [("", 0.0)] * len(lines)
        order = sorted(range(len(lines)), key=lambda i: widths[i])
        for width, group in groupby(order, key=lambda i: widths[i]):
            members = list(group)
            for start in range(0, len(members), self._lines):
                part = members[start : start + self._lines]
                batch = [sized[i] for i in part]
                batch += [batch[0]] * (self._lines - len(part))
                (table,) = run_session(self._recogniser, {"x": _normalised(batch, width)})
                for i, rows in zip(part, table, strict=False):
                    results[i] = self._text(rows)
        return results

    def _resized(self, line: Image) -> Image:
        height, width = line.shape[:2]
        wanted = min(_MAX_WIDTH, max(1, -(-_HEIGHT * width // height)))
        return np.asarray(self._cv2.resize(line, (wanted, _HEIGHT)))

    def _text(self, rows: Floats) -> tuple[str, float]:
        """Greedy CTC: the best character of each step; repeats and blanks (character 0) fall out."""
        best = rows.argmax(axis=1)
        keep = best != 0
        keep[1:] &= best[1:] != best[:-1]
        if not keep.any():
            return "", 0.0
        score = float(rows[np.flatnonzero(keep), best[keep]].mean(dtype=np.float64))
        return "".join(self._alphabet[i] for i in best[keep]), score

    def _quads(self, probability: Floats) -> list[Floats]:
        """Corners of the boxes around connected text pixels, in pixels of the map."""
        cv2 = self._cv2
        mask = cv2.dilate((probability > _TEXT_PIXEL).astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        quads: list[Floats] = []
        for contour in contours[:_MAX_LINES]:
            centre, (width, height), angle = cv2.minAreaRect(contour)
            if min(width, height) < _MIN_SIDE:
                continue
            if self._mean_inside(probability, cv2.boxPoints((centre, (width, height), angle))) < _TEXT_BOX:
                continue
            # Growing a rectangle with round corners and boxing it again is growing its sides.
            grow = 2 * _GROW * width * height / (2 * (width + height))
            grown = cv2.boxPoints((centre, (width + grow, height + grow), angle))
            limit = np.array(probability.shape[::-1], np.float32)
            quads.append(np.clip(_clockwise(grown), 0, limit).astype(np.float32))
        return quads

    def _mean_inside(self, probability: Floats, corners: Floats) -> float:
        height, width = probability.shape
        x1, y1 = np.floor(corners.min(axis=0)).astype(int).clip(0, (width - 1, height - 1))
        x2, y2 = np.ceil(corners.max(axis=0)).astype(int).clip(0, (width - 1, height - 1))
        mask = np.zeros((y2 - y1 + 1, x2 - x1 + 1), np.uint8)
        self._cv2.fillPoly(mask, [(corners - (x1, y1)).astype(np.int32)], 1)
        inside = probability[y1 : y2 + 1, x1 : x2 + 1][mask > 0]
        return float(inside.mean()) if len(inside) else 0.0


def _normalised(images: Sequence[Image], width: int) -> Floats:
    """(n, 3, height, width) in -1..1; what lies right of a picture is 0."""
    tensor = np.zeros((len(images), 3, images[0].shape[0], width), np.float32)
    for row, image in zip(tensor, images, strict=True):
        part = row[..., : image.shape[1]]
        part[...] = image.transpose(2, 0, 1)
        part /= 127.5
        part -= 1
    return tensor


def _clockwise(corners: Floats) -> Floats:
    """Top left, top right, bottom right, bottom left of a rotated rectangle."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (by_x[:2], by_x[2:]))
    return np.stack((left[0], right[0], right[1], left[1]))


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


def _packaged(name: str) -> bytes:
    try:
        return (importlib.resources.files("rapidocr") / "models" / name).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ExtraMissing(
            f"{name} of the package rapidocr is not there; install cvpipe with the extra `cpu` or `gpu`"
        ) from error
