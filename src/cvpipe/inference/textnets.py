"""The three kinds of PP-OCR's networks: where lines of text are, whether a line is upside down, and what it says.

Each is made from a model card, or from a file of the package `rapidocr`. Detection is Differentiable Binarization (Liao
et al., 2020, https://arxiv.org/abs/1911.08947), recognition ends in a greedy CTC decoder (Graves et al., 2006).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.errors import ExtraMissing, InvalidModel
from cvpipe.frames import Image
from cvpipe.inference.batcher import Batcher
from cvpipe.inference.cards import InputSpec, ModelCard, read_options
from cvpipe.inference.devices import Device, is_gpu
from cvpipe.inference.ppocr import AngleOptions, DetectionOptions, RecognitionOptions
from cvpipe.inference.sessions import LoadableSession, run_session

Floats = npt.NDArray[np.float32]

_PACKAGED = {"detector": "PP-OCRv6_det_small.onnx", "recogniser": "PP-OCRv6_rec_small.onnx"}

_STEP = 32  # the detector's coarsest stride
_HEIGHT = 48  # of a line, as the recogniser was trained
_WIDTH_STEP = 32
_MAX_WIDTH = 2048
_GPU_LINES = 8
_GPU_CALLS = 2
_CPU_CALLS = 1024  # as many as ask
_LINES_AT_ONCE = 64  # of 1.2 MB at most
_MAX_DICTIONARY_BYTES = 4 << 20


class TextNetwork(LoadableSession):
    """A network that takes one picture. card: None: it is of the package `rapidocr`."""

    def __init__(self, cv2: Any, card: ModelCard | None, role: str, *, device: Device) -> None:
        """role: which file of the package, where there is no card. Raises: InvalidModel, ExtraMissing."""
        self.card = card
        self._cv2, self._spec = cv2, None if card is None else card.input
        super().__init__(partial(packaged, role) if card is None else card.read, device=device)
        self._input, self._shape = _picture_input(self.session)


class LineDetector(TextNetwork):
    """Finds lines of text. Safe to call from several threads."""

    def __init__(self, cv2: Any, card: ModelCard | None = None, *, device: Device) -> None:
        """card: default: the network of the package `rapidocr`. Raises: InvalidModel, ExtraMissing."""
        self._options = DetectionOptions() if card is None else read_options(card, DetectionOptions)
        super().__init__(cv2, card, "detector", device=device)
        height, width = self._shape[2:]
        self._fixed = (width, height) if isinstance(height, int) and isinstance(width, int) else None

    def find(self, image: Image, *, max_side: int) -> list[Floats]:
        """The corners of each line of text in `image`, (4, 2), in no order; see `TextReader.find`.

        A network of a fixed size sees the picture in the top left corner of its canvas.
        """
        height, width = image.shape[:2]
        longest = max_side / max(height, width)
        if self._fixed is None:
            scale = min(1.0, longest)
            size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height)]
            canvas = size
        else:
            canvas = list(self._fixed)
            scale = min(1.0, longest, canvas[0] / width, canvas[1] / height)
            size = [max(1, min(most, round(side * scale))) for side, most in zip((width, height), canvas, strict=True)]
        small = self._cv2.resize(
            image, size, interpolation=self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR
        )
        tensor = normalised([small], canvas[0], self._spec, height=canvas[1])
        probability = run_session(self.session, {self._input: tensor})[0]
        if probability.ndim != 4 or probability.shape[:2] != (1, 1):
            raise InvalidModel(f"a text detector's output is (1, 1, height, width), got {probability.shape}")
        rows, columns = probability.shape[2:]
        # The map covers the canvas, of which the picture fills the top left part.
        factor = np.array([width / size[0], height / size[1]], np.float32)
        if (columns, rows) != tuple(canvas):
            factor *= np.array([canvas[0] / columns, canvas[1] / rows], np.float32)
        edge = np.array([width, height], np.float32)
        quads = [quad * factor for quad in self._quads(probability[0, 0].astype(np.float32, copy=False))]
        return quads if self._fixed is None else [np.minimum(quad, edge) for quad in quads]

    def _quads(self, probability: Floats) -> list[Floats]:
        """Corners of the boxes around connected text pixels, in pixels of the map."""
        cv2, options = self._cv2, self._options
        mask = cv2.dilate((probability > options.threshold).astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        quads: list[Floats] = []
        for contour in contours[: options.max_lines]:
            centre, (width, height), angle = cv2.minAreaRect(contour)
            if min(width, height) < options.min_side or not min(width, height):
                continue
            if self._mean_inside(probability, cv2.boxPoints((centre, (width, height), angle))) < options.box_threshold:
                continue
            # Growing a rectangle with round corners and boxing it again is growing its sides.
            grow = 2 * options.unclip_ratio * width * height / (2 * (width + height))
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


class LineTurner(TextNetwork):
    """Turns lines around that are upside down. Safe to call from several threads."""

    def __init__(self, cv2: Any, card: ModelCard, *, device: Device) -> None:
        """Raises: InvalidModel."""
        self._threshold = read_options(card, AngleOptions).threshold
        super().__init__(cv2, card, "angle", device=device)
        self._canvas = card.input

    def upright(self, line: Image) -> Image:
        """The line as it is, or turned by 180 degrees; one at a time, so that none depends on the others."""
        spec = self._canvas
        width = spec.width
        if spec.resize == "letterbox":
            width = min(width, max(1, -(-spec.height * line.shape[1] // line.shape[0])))
        sized = np.asarray(self._cv2.resize(line, (width, spec.height)))
        chances = run_session(self.session, {self._input: normalised([sized], spec.width, spec)})[0]
        if chances.shape != (1, 2):
            raise InvalidModel(f"an angle network's output is (1, 2), for 0 and 180 degrees, got {chances.shape}")
        return np.rot90(line, 2) if chances[0, 1] >= self._threshold else line


class LineReader(TextNetwork):
    """Reads lines of text. Safe to call from several threads; a line is read the same in any company.

    On a GPU lines of like width share calls with those of other threads and jobs.
    """

    def __init__(self, cv2: Any, card: ModelCard | None = None, *, device: Device, wait_seconds: float = 0.005) -> None:
        """card: default: the network of the package `rapidocr`. wait_seconds: how long a line waits at most for others.

        Raises: InvalidModel, ExtraMissing.
        """
        if card is not None:
            read_options(card, RecognitionOptions)
        super().__init__(cv2, card, "recogniser", device=device)
        width = self._shape[3]
        self._height = _HEIGHT if self._spec is None else self._spec.height
        self._width = width if isinstance(width, int) else None
        # The character of each class: the blank of CTC, those that the dictionary names, and the space.
        named = _dictionary(self.session, card)
        classes = self.session.get_outputs()[0].shape[-1]
        if isinstance(classes, int) and classes not in (len(named) + 1, len(named) + 2):
            raise InvalidModel(
                f"the recogniser tells {classes} characters apart, its dictionary has {len(named)}: wanted one less, "
                "for the blank, or two, for blank and space"
            )
        self._alphabet = ["", *named, " "]
        # On a CPU with one thread a batch gains nothing, and its last digits differ from those of single lines.
        lines, calls = (_GPU_LINES, _GPU_CALLS) if is_gpu(device) else (1, _CPU_CALLS)
        self._batcher = Batcher(
            self._read_together, batch=lines, calls=calls, is_padded=True, wait_seconds=wait_seconds
        )

    def read(self, lines: Sequence[Image]) -> list[tuple[str, float]]:
        """Text and score of each picture of one line, (height, width, 3) BGR.

        A line's padding depends on its own width alone, and so does its result.
        """
        read: list[tuple[str, float]] = []
        for start in range(0, len(lines), _LINES_AT_ONCE):
            read += self._batcher.ask([self._tensor(line) for line in lines[start : start + _LINES_AT_ONCE]])
        return read

    def _read_together(self, tensors: Sequence[Floats]) -> list[tuple[str, float]]:
        """What is on lines of one width, as many as a call takes at most; blank ones fill it up."""
        blank = [np.zeros_like(tensors[0])] * (self._batcher.batch - len(tensors))
        table = run_session(self.session, {self._input: np.stack((*tensors, *blank))})[0]
        if table.ndim != 3 or table.shape[2] > len(self._alphabet):
            raise InvalidModel(f"a recogniser's output is (lines, steps, characters), got {table.shape}")
        return [self._text(rows) for rows in table[: len(tensors)]]

    def _tensor(self, line: Image) -> Floats:
        """(3, height, width) with the width a multiple of 32, or the network's own."""
        height, width = line.shape[:2]
        wanted = min(self._width or _MAX_WIDTH, max(1, -(-self._height * width // height)))
        sized = np.asarray(self._cv2.resize(line, (wanted, self._height)))
        return normalised([sized], self._width or -(-wanted // _WIDTH_STEP) * _WIDTH_STEP, self._spec)[0]

    def _text(self, rows: Floats) -> tuple[str, float]:
        """Greedy CTC: the best character of each step; repeats and blanks (character 0) fall out."""
        best = rows.argmax(axis=1)
        keep = best != 0
        keep[1:] &= best[1:] != best[:-1]
        if not keep.any():
            return "", 0.0
        score = float(rows[np.flatnonzero(keep), best[keep]].mean(dtype=np.float64))
        return "".join(self._alphabet[i] for i in best[keep]), score


def normalised(images: Sequence[Image], width: int, spec: InputSpec | None, *, height: int | None = None) -> Floats:
    """(n, 3, height, width) as a network takes it; what lies right of a picture, or below it, is 0.

    images: BGR. spec: how a card will have pixels; None: BGR in -1..1.
    """
    rows = images[0].shape[0]
    tensor = np.zeros((len(images), 3, height or rows, width), np.float32)
    for row, image in zip(tensor, images, strict=True):
        part = row[:, :rows, : image.shape[1]]
        if spec is not None and spec.color == "rgb":
            image = image[..., ::-1]
        part[...] = image.transpose(2, 0, 1)
        if spec is None:
            part /= 127.5
            part -= 1
        else:
            part -= np.array(spec.mean, np.float32).reshape(3, 1, 1)
            part /= np.array(spec.scale, np.float32).reshape(3, 1, 1)
    return tensor


def _picture_input(session: Any) -> tuple[str, Sequence[Any]]:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        told = ", ".join(f"{i.name} {i.type}{list(i.shape)}" for i in inputs)
        raise InvalidModel(f"a text network takes one float picture (n, 3, height, width), this one takes {told}")
    return str(inputs[0].name), inputs[0].shape


def _dictionary(session: Any, card: ModelCard | None) -> list[str]:
    """The characters that a recogniser knows, without blank and space: from the card's file, or from the network."""
    if card is not None and "dictionary" in card.files:
        raw = card.read_file("dictionary")
        if len(raw) > _MAX_DICTIONARY_BYTES:
            raise InvalidModel(f"the dictionary has {len(raw)} bytes", field="files.dictionary")
        try:
            text = raw.decode("utf-8-sig").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise InvalidModel(f"the dictionary is not UTF-8: {error}", field="files.dictionary") from error
        return [line.removesuffix("\r") for line in text.split("\n")]
    named = session.get_modelmeta().custom_metadata_map.get("character")
    if not named:
        raise InvalidModel(
            "the recogniser does not carry its characters: the card must name a file `dictionary`, one a line",
            field="files.dictionary",
        )
    return list(named.splitlines())


def _clockwise(corners: Floats) -> Floats:
    """Top left, top right, bottom right, bottom left of a rotated rectangle."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (by_x[:2], by_x[2:]))
    return np.stack((left[0], right[0], right[1], left[1]))


def packaged(role: str) -> bytes:
    """The network for a role (`detector`, `recogniser`) of the package `rapidocr`. Raises: ExtraMissing."""
    name = _PACKAGED[role]
    try:
        return (importlib.resources.files("rapidocr") / "models" / name).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ExtraMissing(
            f"{name} of the package rapidocr is not there; install cvpipe with the extra `cpu` or `gpu`"
        ) from error
