"""Networks: one ONNX Runtime session, shared by threads, and what may be asked of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto

from cvpipe.errors import InvalidModel
from cvpipe.frames import Image, View
from cvpipe.inference.cards import ModelCard
from cvpipe.inference.devices import Device, providers
from cvpipe.inference.feeds import Feed, Feeder
from cvpipe.inference.graphs import freed, image_input, read_graph
from cvpipe.log import fields

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Outputs = tuple[npt.NDArray[Any], ...]

STEP = 32  # canvases are multiples of this: the coarsest stride of the networks we know
_GPU_BATCH = 16
_TRIAL_SECONDS = 60.0
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (8,), (16,), (32,))


def open_session(raw: bytes, *, device: Device) -> onnxruntime.InferenceSession:
    """A session on the ONNX file's bytes. From bytes, because then ONNX Runtime reads no other file.

    On a CPU a call uses one thread: workers call from as many threads as there are cores. Raises: InvalidModel.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads would spin on the cores that other chunks need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(raw, options, providers=providers(device))
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise InvalidModel(f"ONNX Runtime can't load the model: {error}") from error


class OnnxNetwork:
    """A model card's network, ready to run. Safe to call from several threads.

    Opening it tries it on a made-up picture: a model that can't run, or runs for ever, fails here and not in a job.
    """

    def __init__(self, card: ModelCard, *, device: Device) -> None:
        """Raises: InvalidModel."""
        self.card = card
        spec = card.input
        try:
            raw = card.read()
            model = read_graph(raw)
            image = image_input(model, spec.layout, spec.extra)
            for name, wanted, got in (("width", spec.width, image.width), ("height", spec.height, image.height)):
                if got not in (None, wanted):
                    raise InvalidModel(f"the network's {name} is {got}, the card says {wanted}", field=f"input.{name}")
            session = open_session(raw, device=device)
            self._feeder = Feeder(session, image.name, spec)
            own_batch = image.batch or 1
            picture = _trial_picture(spec.width, spec.height)
            self._rows, expected = self._trial(session, [picture] * own_batch)
            resizable = card.rectangular and spec.resize == "letterbox" and self._rows
            free_size, free_batch = image.height is None and image.width is None, image.batch is None and self._rows
            wants_size = resizable and not free_size
            wants_batch = self._rows and image.batched and not free_batch and (device == "cuda" or own_batch > 1)
            if wants_size or wants_batch:
                loose = self._loosened(freed(model, spec.layout, spec.extra), device, picture, expected)
                if loose is not None:
                    session, free_size, free_batch = loose, True, True
        except InvalidModel as error:
            raise InvalidModel(f"model {card.ref}: {error.message}", field=error.field) from error
        self._session = session
        self._resizable = resizable and free_size and free_batch
        # One size of batch on a GPU, filled up with blank pictures: cuDNN's choice of convolution, and so the last
        # digits, depend on the size, and a frame's result must not depend on how many frames came along.
        self._batch = (_GPU_BATCH if device == "cuda" else 1) if free_batch else own_batch
        self._shapes = tuple(output.shape if self._rows else (-1, *output.shape[1:]) for output in expected)
        self._sizes: dict[tuple[int, int], bool] = {(spec.width, spec.height): True}
        self._lock = threading.Lock()

    @property
    def batch(self) -> int:
        """How many pictures to hand over in one call for best use of the device; 1 on a CPU."""
        return self._batch

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs for one picture of the card's size, without the batch dimension.

        A network whose outputs have none (its own suppression is inside, as torchvision's detectors have it) runs one
        picture at a time; the first dimension of each is -1, for it varies.
        """
        return self._shapes

    def input_view(self, upstream: View) -> View:
        """The view that the network wants of a frame of which earlier steps made `upstream`.

        A letterbox is cut to the smallest multiple of 32 pixels that holds the frame, where the network was seen to
        take that size: 416x256 instead of 416x416 for a 16:9 frame.
        """
        spec = self.card.input
        colour = upstream.with_format("bgr24" if spec.color == "bgr" else "rgb24")
        if spec.resize == "stretch":
            return colour.resized(spec.width, spec.height, mode="stretch")
        width, height = spec.width, spec.height
        if self._resizable and width % STEP == 0 and height % STEP == 0:
            tight = colour.resized(width, height, mode="fit", multiple_of=STEP)
            view = colour.resized(tight.width, tight.height, mode="letterbox", anchor=spec.anchor, pad=spec.pad)
            if self._takes(view):
                return view
        return colour.resized(width, height, mode="letterbox", anchor=spec.anchor, pad=spec.pad)

    def run(self, images: Sequence[Image]) -> list[Outputs]:
        """Raw outputs for each picture (height, width, 3), all of the shape of one `input_view`.

        Without the batch dimension; numbers with a point as float32, others as they are. Pictures go to the device
        `batch` at a time.
        """
        results: list[Outputs] = []
        for start in range(0, len(images), self._batch):
            part = list(images[start : start + self._batch])
            missing = self._batch - len(part)
            feed = self._feeder.feed(part + [np.zeros_like(part[0])] * missing)
            results += _per_picture(run_session(self._session, feed), self._batch, rows=self._rows)[: len(part)]
        return results

    def _trial(self, session: onnxruntime.InferenceSession, images: list[Image]) -> tuple[bool, Outputs]:
        """Whether outputs have a row for each picture, and those for the first picture.

        A network that takes one picture may have outputs without a batch dimension: told by a length other than 1 for
        a busy picture or a blank one.
        """
        busy = _try(session, self._feeder.feed(images))
        rows = all(output.ndim > 0 and len(output) == len(images) for output in busy)
        if len(images) == 1 and rows:
            blank = _try(session, self._feeder.feed([np.zeros_like(images[0])]))
            rows = all(len(output) == 1 for output in blank)
        return rows, _per_picture(busy, len(images), rows=rows)[0]

    def _loosened(
        self, model: ModelProto, device: Device, picture: Image, expected: Outputs
    ) -> onnxruntime.InferenceSession | None:
        """A session on the edited graph, where it computes what the original does."""
        try:
            session = open_session(model.SerializeToString(), device=device)
            outputs = _per_picture(_try(session, self._feeder.feed([picture, picture[::-1]])), 2)[0]
        except InvalidModel as error:
            reason = str(error)[:200]
        else:
            pairs = list(zip(outputs, expected, strict=True))
            if all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs):
                return session
            reason = "the answers differ"
        logger.info("the sizes of a network are not free %s", fields(model=self.card.ref, reason=repr(reason)))
        return None

    def _takes(self, view: View) -> bool:
        """Whether the network was seen to work on the canvas of `view`; tried once for each size."""
        size = (view.width, view.height)
        with self._lock:
            if size not in self._sizes:
                self._sizes[size] = self._try_size(view)
                logger.info(
                    "network input %s",
                    fields(model=self.card.ref, size=f"{size[0]}x{size[1]}", accepted=self._sizes[size]),
                )
            return self._sizes[size]

    def _try_size(self, view: View) -> bool:
        """Compare the small canvas with the card's: the same picture must come out alike, cell by cell."""
        spec = self.card.input
        _, _, width, height = view.content
        full = np.full((spec.height, spec.width, 3), spec.pad, np.uint8)
        full[:height, :width] = _trial_picture(spec.width, spec.height)[:height, :width]
        small = np.full(view.shape, spec.pad, np.uint8)
        small[:height, :width] = full[:height, :width]
        try:
            wide, tight = (
                _per_picture(_try(self._session, self._feeder.feed([picture])), 1)[0] for picture in (full, small)
            )
        except InvalidModel:
            return False
        sizes = ((spec.width, spec.height), (view.width, view.height))
        levels: list[tuple[Floats, Floats]] = []
        for a, b in zip(wide, tight, strict=True):
            common = _common_cells(a, b, sizes)
            if common is None or not np.isfinite(b).all():
                return False
            levels += common
        # Judged on the finest cells: the coarse ones see all of the picture, and with it the padding.
        finest = max(b.shape[0] * b.shape[1] for _, b in levels)
        return all(_in_order(a, b) for a, b in levels if b.shape[0] * b.shape[1] == finest)


def run_session(session: onnxruntime.InferenceSession, feed: Feed, options: Any = None) -> list[npt.NDArray[Any]]:
    """All outputs of one call. Raises: InvalidModel where ONNX Runtime refuses it."""
    try:
        return list(session.run(None, feed, options))
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise InvalidModel(f"the network does not run: {error}") from error


def _try(session: onnxruntime.InferenceSession, feed: Feed) -> list[npt.NDArray[Any]]:
    """A call with a time limit, for a network that is not known yet: a Loop of 2**60 steps never returns."""
    options = onnxruntime.RunOptions()
    timer = threading.Timer(_TRIAL_SECONDS, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        outputs = run_session(session, feed, options)
    finally:
        timer.cancel()
    if not all(type(output) is np.ndarray and output.dtype.kind in "fiub" for output in outputs):
        raise InvalidModel("wanted outputs that are tensors of numbers")
    return outputs


def _per_picture(outputs: list[npt.NDArray[Any]], batch: int, *, rows: bool = True) -> list[Outputs]:
    """The outputs of each picture. rows: whether they have one row for each; else they are of the only one."""
    tables = [output if output.dtype.kind in "iub" else np.asarray(output, np.float32) for output in outputs]
    if not rows and batch == 1:
        return [tuple(np.atleast_1d(output) for output in tables)]
    for output in outputs:
        if output.ndim < 1 or len(output) != batch:
            raise InvalidModel(f"wanted outputs with {batch} rows, one for each picture, got {output.shape}")
    return [tuple(output[i] for output in tables) for i in range(batch)]


def _trial_picture(width: int, height: int) -> Image:
    """A made-up picture in blocks of 16 pixels, so that each grid cell sees something of its own."""
    blocks = np.random.default_rng(0).integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width])


def _common_cells(full: Floats, small: Floats, sizes: Sequence[tuple[int, int]]) -> list[tuple[Floats, Floats]] | None:
    """The cells that two canvases share, the smaller one lying in the larger one's top left corner.

    full, small: an output for each canvas; sizes: (width, height) of each. For each stride (rows, columns, channels) of
    both; None where the outputs aren't lists of grid cells.
    """
    changed = [axis for axis in range(full.ndim) if full.shape[axis] != small.shape[axis]]
    if full.ndim != small.ndim or len(changed) != 1:
        return None
    tables = [np.moveaxis(output, changed[0], 0).reshape(output.shape[changed[0]], -1) for output in (full, small)]
    for strides in _STRIDES:
        grids = [[(height // stride, width // stride) for stride in strides] for width, height in sizes]
        if [len(table) for table in tables] == [sum(rows * columns for rows, columns in grid) for grid in grids]:
            break
    else:
        return None
    levels = []
    for level, (rows, columns) in enumerate(grids[1]):
        cells = []
        for table, grid in zip(tables, grids, strict=True):
            start = sum(r * c for r, c in grid[:level])
            r, c = grid[level]
            cells.append(table[start : start + r * c].reshape(r, c, -1)[:rows, :columns])
        levels.append((cells[0], cells[1]))
    return levels


def _in_order(a: Floats, b: Floats) -> bool:
    """Whether the cells of two canvases with the same picture are listed in the same order.

    They won't be equal, because what a network sees around them differs; but a cell must be more like itself than like
    its neighbours.
    """
    shifted = [np.roll(b, 1, 0), np.roll(b, -1, 0), np.roll(b, 1, 1), np.roll(b, -1, 1), b[::-1], b[:, ::-1]]
    return _likeness(a, b) > max(_likeness(a, other) for other in shifted)


def _likeness(a: Floats, b: Floats) -> float:
    """Median over the channels of the correlation over the cells; a and b: (height, width, channels)."""
    p, q = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (a, b))
    p, q = p - p.mean(0), q - q.mean(0)
    norm = np.sqrt((p * p).sum(0) * (q * q).sum(0))
    used = norm > 1e-12
    return float(np.median((p * q).sum(0)[used] / norm[used])) if used.any() else -1.0
