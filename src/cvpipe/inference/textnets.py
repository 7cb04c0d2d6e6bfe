"""The three kinds of PP-OCR's networks: where lines of text are, whether a line is upside down, and what it says.

Each is made from a model card, or from a file of the package `rapidocr`. Detection is Differentiable Binarization (Liao
et al., 2020, https://arxiv.org/abs/1911.08947), recognition ends in a greedy CTC decoder (Graves et al., 2006).
"""

from __future__ import annotations

import importlib.resources
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Generic, NamedTuple, TypedDict, TypeVar, Unpack

import numpy as np
import numpy.typing as npt

from cvpipe.errors import ExtraMissing, GpuOutOfMemory, InvalidModel
from cvpipe.frames import Image
from cvpipe.inference.batcher import CPU_CALLS, GPU_CALLS, Batcher
from cvpipe.inference.cards import InputSpec, ModelCard, read_options
from cvpipe.inference.devices import Device, is_gpu
from cvpipe.inference.meters import Meters
from cvpipe.inference.ppocr import AngleOptions, DetectionOptions, RecognitionOptions
from cvpipe.inference.sessions import LoadableSession, run_limited, run_session
from cvpipe.tools import PACKAGED

Floats = npt.NDArray[np.float32]
R = TypeVar("R")

_PACKAGED = {"detector": "PP-OCRv6_det_small.onnx", "recogniser": "PP-OCRv6_rec_small.onnx"}

_STEP = 32  # the detector's coarsest stride
_HEIGHT = 48  # of a line, as the recogniser was trained
_WIDTH_STEP = 32
_MAX_WIDTH = 2048
_MAX_CONTOURS = 1000  # most of which may be specks
_TRIAL_SECONDS = 60.0
_TRIAL_SIDE, _TRIAL_WIDTH = 640, 320  # of a frame and of a line, as `read_text` has them by default
_MAX_DICTIONARY_BYTES = 4 << 20


class Shared(TypedDict, total=False):
    """What a network shares with others; see `TextNetwork`."""

    wait_seconds: float
    meters: Meters | None


class TextNetwork(LoadableSession, ABC, Generic[R]):
    """A network that is shown pictures: on a CPU one by one, on a GPU those of like size together, whoever asks.

    Opening it tries it on a blank picture: a network that can't run, or runs for ever, fails here and not in a job.
    """

    gpu_batch: ClassVar[int] = 8
    """Pictures in one call on a GPU."""
    at_once: ClassVar[int] = 64
    """Pictures in memory at once as numbers."""

    def __init__(
        self,
        cv2: Any,
        card: ModelCard | None,
        role: str,
        *,
        device: Device,
        wait_seconds: float = 0.005,
        meters: Meters | None = None,
    ) -> None:
        """card: None: it is the file of the package `rapidocr` for this role. wait_seconds: see `Batcher`.

        meters: told what the network does. Raises: InvalidModel, ExtraMissing.
        """
        self.card = card
        self._cv2, self._spec = cv2, None if card is None else card.input
        super().__init__(partial(packaged, role) if card is None else card.read, device=device)
        self._input, self._shape = _picture_input(self.session)
        # On a CPU with one thread a batch gains nothing, and its last digits differ from those of single pictures.
        batch, calls = (self.gpu_batch, GPU_CALLS) if is_gpu(device) else (1, CPU_CALLS)
        self._own_batch = self._shape[0] if isinstance(self._shape[0], int) else None
        name = f"{PACKAGED}{role}" if card is None else card.ref
        self._batcher: Batcher[R] = Batcher(
            self._run_batch,
            batch=self._own_batch or batch,
            calls=calls,
            is_padded=True,
            wait_seconds=wait_seconds,
            on_use=None if meters is None else partial(meters.add, name),
        )

    @property
    def batch(self) -> int:
        """How many pictures to hand over in one call for best use of the device; 1 on a CPU."""
        return self._batcher.batch

    def _ask(self, tensors: Iterable[Floats]) -> list[R]:
        """What the network says of each picture, (3, height, width)."""
        rest, said = iter(tensors), list[R]()
        while part := list(islice(rest, self.at_once)):
            said += self._batcher.ask(part)
        return said

    @abstractmethod
    def _meaning(self, row: Floats) -> R:
        """What the network's output for one picture says. Raises: InvalidModel."""

    def _run_batch(self, tensors: Sequence[Floats]) -> list[R]:
        """What it says of pictures of one size, as many as a call takes at most; blank ones fill it up."""
        size = self._own_batch or max(len(tensors), self._batcher.batch)  # which another call may just have halved
        blank = [np.zeros_like(tensors[0])] * (size - len(tensors))
        feed = {self._input: tensors[0][None] if size == 1 else np.stack((*tensors, *blank))}
        return self._rows(run_session(self.session, feed)[0], size)[: len(tensors)]

    def _rows(self, output: Floats, size: int) -> list[R]:
        if output.ndim < 2 or len(output) != size:
            raise InvalidModel(f"a text network's output has a row for each of {size} pictures, got {output.shape}")
        return [self._meaning(row.astype(np.float32, copy=False)) for row in output]

    def _try(self, width: int, height: int) -> None:
        """Show it a blank picture, and a full batch of them where it takes several: its memory is measured after."""
        size = self._own_batch or 1
        blank = np.zeros((3, height, width), np.float32)
        feed = {self._input: np.stack([blank] * size)}
        self._rows(run_limited(self.session, feed, seconds=_TRIAL_SECONDS)[0], size)
        if self.batch > size:
            with suppress(GpuOutOfMemory):  # it takes fewer at a time when it is asked
                self._run_batch([blank] * self.batch)


class _Place(NamedTuple):
    """How a detector sees a picture: its size and that of the canvas (width, height), and how much smaller it is."""

    size: tuple[int, int]
    canvas: tuple[int, int]
    scale: float


class LineDetector(TextNetwork[Floats]):
    """Finds lines of text. Safe to call from several threads; what it finds does not depend on the company."""

    gpu_batch = 4
    at_once = 8

    def __init__(self, cv2: Any, card: ModelCard | None = None, *, device: Device, **shared: Unpack[Shared]) -> None:
        """card: default: the network of the package `rapidocr`. Raises: InvalidModel, ExtraMissing."""
        self._options = DetectionOptions() if card is None else read_options(card, DetectionOptions)
        super().__init__(cv2, card, "detector", device=device, **shared)
        height, width = self._shape[2:]
        self._fixed = (width, height) if isinstance(height, int) and isinstance(width, int) else None
        usual = (_TRIAL_SIDE, _TRIAL_SIDE) if card is None else (card.input.width, card.input.height)
        self._try(*(self._fixed or (_stepped(usual[0]), _stepped(usual[1]))))

    def find(self, images: Sequence[Image], *, max_side: int) -> list[list[Floats]]:
        """The corners of each line of text in each picture, (4, 2), in no order; see `TextReader.find`.

        A network of a fixed size sees the picture in the top left corner of its canvas.
        """
        placed = [self._placed(image, max_side) for image in images]
        maps = self._ask(self._tensor(image, place) for image, place in zip(images, placed, strict=True))
        return [
            self._lines(probability, image, place)
            for probability, image, place in zip(maps, images, placed, strict=True)
        ]

    def _placed(self, image: Image, max_side: int) -> _Place:
        height, width = image.shape[:2]
        longest = max_side / max(height, width)
        if self._fixed is None:
            scale = min(1.0, longest)
            size = (_stepped(width * scale), _stepped(height * scale))
            return _Place(size, size, scale)
        columns, rows = self._fixed
        scale = min(1.0, longest, columns / width, rows / height)
        size = (max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale))))
        return _Place(size, self._fixed, scale)

    def _tensor(self, image: Image, place: _Place) -> Floats:
        way = self._cv2.INTER_AREA if place.scale < 1 else self._cv2.INTER_LINEAR
        small = self._cv2.resize(image, place.size, interpolation=way)
        return normalised([small], place.canvas[0], self._spec, height=place.canvas[1])[0]

    def _meaning(self, row: Floats) -> Floats:
        if row.ndim != 3 or len(row) != 1:
            raise InvalidModel(f"a text detector's output is (1, height, width) for a picture, got {row.shape}")
        return row[0]

    def _lines(self, probability: Floats, image: Image, place: _Place) -> list[Floats]:
        """The corners of lines, in pixels of `image`, from the map that covers the canvas."""
        (height, width), (rows, columns) = image.shape[:2], probability.shape
        factor = np.array([width / place.size[0], height / place.size[1]], np.float32)
        if (columns, rows) != place.canvas:
            factor *= np.array([place.canvas[0] / columns, place.canvas[1] / rows], np.float32)
        edge = np.array([width, height], np.float32)
        quads = [quad * factor for quad in self._quads(probability)]
        return quads if self._fixed is None else [np.minimum(quad, edge) for quad in quads]

    def _quads(self, probability: Floats) -> list[Floats]:
        """Corners of the boxes around connected text pixels, in pixels of the map."""
        cv2, options = self._cv2, self._options
        mask = cv2.dilate((probability > options.threshold).astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        quads: list[Floats] = []
        for contour in contours[:_MAX_CONTOURS]:
            if len(quads) == options.max_lines:
                break
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


class LineTurner(TextNetwork[float]):
    """Turns lines around that are upside down. Safe to call from several threads; none depends on the others."""

    def __init__(self, cv2: Any, card: ModelCard, *, device: Device, **shared: Unpack[Shared]) -> None:
        """Raises: InvalidModel."""
        self._threshold = read_options(card, AngleOptions).threshold
        super().__init__(cv2, card, "angle", device=device, **shared)
        self._canvas = card.input
        self._try(card.input.width, card.input.height)

    def upright(self, lines: Sequence[Image]) -> list[Image]:
        """Each line as it is, or turned by 180 degrees."""
        chances = self._ask(map(self._tensor, lines))
        return [
            np.rot90(line, 2) if chance >= self._threshold else line
            for line, chance in zip(lines, chances, strict=True)
        ]

    def _tensor(self, line: Image) -> Floats:
        spec = self._canvas
        width = spec.width
        if spec.resize == "letterbox":
            width = min(width, max(1, -(-spec.height * line.shape[1] // line.shape[0])))
        sized = np.asarray(self._cv2.resize(line, (width, spec.height)))
        return normalised([sized], spec.width, spec)[0]

    def _meaning(self, row: Floats) -> float:
        if row.shape != (2,):
            raise InvalidModel(f"an angle network's output is (2,) for a line, for 0 and 180 degrees, got {row.shape}")
        return float(row[1])


class LineReader(TextNetwork[tuple[str, float]]):
    """Reads lines of text. Safe to call from several threads; a line is read the same in any company."""

    def __init__(self, cv2: Any, card: ModelCard | None = None, *, device: Device, **shared: Unpack[Shared]) -> None:
        """card: default: the network of the package `rapidocr`. Raises: InvalidModel, ExtraMissing."""
        if card is not None:
            read_options(card, RecognitionOptions)
        super().__init__(cv2, card, "recogniser", device=device, **shared)
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
        self._try(self._width or _TRIAL_WIDTH, self._height)

    def read(self, lines: Sequence[Image]) -> list[tuple[str, float]]:
        """Text and score of each picture of one line, (height, width, 3) BGR.

        A line's padding depends on its own width alone, and so does its result.
        """
        return self._ask(map(self._tensor, lines))

    def _tensor(self, line: Image) -> Floats:
        """(3, height, width) with the width a multiple of 32, or the network's own."""
        height, width = line.shape[:2]
        wanted = min(self._width or _MAX_WIDTH, max(1, -(-self._height * width // height)))
        sized = np.asarray(self._cv2.resize(line, (wanted, self._height)))
        return normalised([sized], self._width or -(-wanted // _WIDTH_STEP) * _WIDTH_STEP, self._spec)[0]

    def _meaning(self, row: Floats) -> tuple[str, float]:
        """Greedy CTC: the best character of each step; repeats and blanks (character 0) fall out."""
        if row.ndim != 2 or row.shape[1] > len(self._alphabet):
            raise InvalidModel(f"a recogniser's output is (steps, characters) for a line, got {row.shape}")
        best = row.argmax(axis=1)
        keep = best != 0
        keep[1:] &= best[1:] != best[:-1]
        if not keep.any():
            return "", 0.0
        score = float(row[np.flatnonzero(keep), best[keep]].mean(dtype=np.float64))
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


def _stepped(side: float) -> int:
    """The nearest side that a detector takes."""
    return max(_STEP, round(side / _STEP) * _STEP)


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
