"""Networks: what a model card describes, ready to run, shared by threads and jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto

from cvpipe.errors import CvpipeError, GpuOutOfMemory, InvalidModel
from cvpipe.frames import Image, View
from cvpipe.inference.batcher import CPU_CALLS, GPU_CALLS, Batcher
from cvpipe.inference.bound import enter
from cvpipe.inference.cards import ModelCard
from cvpipe.inference.choice import Ask, Choice
from cvpipe.inference.devices import Device, is_gpu, kind_of, number_of
from cvpipe.inference.feeds import Feed, Feeder
from cvpipe.inference.findings import Findings
from cvpipe.inference.graphs import ImageInput, card_input, freed, read_graph
from cvpipe.inference.likeness import Outputs, answers_alike, trial_picture
from cvpipe.inference.meters import Meters
from cvpipe.inference.precision import halved
from cvpipe.inference.sessions import Call, Opening, building, call_of, open_session, run_limited, run_session
from cvpipe.log import fields

logger = logging.getLogger(__name__)

STEP = 32  # canvases are multiples of this: the coarsest stride of the networks we know
_GPU_BATCH = 16
_RECORDED_CALLS = 4  # one computes while the others are made ready, or what they said is fetched
_TRIAL_SECONDS = 60.0


class OnnxNetwork:
    """A model card's network, ready to run. Safe to call from several threads.

    Opening it tries it on a made-up picture: a model that can't run, or runs for ever, fails here and not in a job.
    What it holds in memory can be given back (`unload`); it is loaded again when it is next run.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        device: Device,
        opening: Opening | None = None,
        batch: int | None = None,
        calls: int | None = None,
        wait_seconds: float = 0.005,
        meters: Meters | None = None,
        findings: Findings | None = None,
        on_findings: Callable[[Findings], None] | None = None,
    ) -> None:
        """opening: how its sessions are opened. batch: pictures in one call, where the network takes any number.

        Default: 1 on a CPU, 16 on a GPU. calls: how many at once. wait_seconds: how long a picture waits at most for
        others to fill a batch. findings: of an earlier trial of the same card on the same device; default: it is tried
        now. on_findings: told whenever a trial has shown something. Raises: InvalidModel, GpuOutOfMemory.
        """
        self.card = card
        self._opening = opening or Opening(device)
        self._device = device
        precision = card.precision if card.profile is None else card.profile.precision
        self._half = precision == "fp16" and is_gpu(device)
        self._on_findings = on_findings
        spec = card.input
        is_batched = is_gpu(device) if batch is None else batch > 1
        try:
            raw = card.read()
            model = read_graph(raw)
            image = card_input(model, spec)
            if findings is None:
                session = self._session(raw, model)
                self._feeder = Feeder(session, image.name, spec)
                session, self._found = self._examined(session, model, image, is_batched=is_batched)
            else:
                self._found = findings
                session = self._session(*self._as_run(raw, model))
                self._feeder = Feeder(session, image.name, spec)
            del model, raw
        except CvpipeError as error:
            raise type(error)(f"model {card.ref}: {error.message}", field=error.field) from error
        found = self._found
        wants_tight = card.rectangular and spec.resize == "letterbox" and found.rows
        self._resizable = wants_tight and found.free_size and found.free_batch
        # One size of batch on a GPU, filled up with blank pictures: cuDNN's choice of convolution, and so the last
        # digits, depend on the size, and a frame's result must not depend on how many frames came along.
        size = (batch or (_GPU_BATCH if is_gpu(device) else 1)) if found.free_batch else found.own_batch
        self._batcher = Batcher(
            self._run_batch,
            batch=size,
            calls=calls or (GPU_CALLS if is_gpu(device) else CPU_CALLS),
            is_padded=True,
            wait_seconds=wait_seconds,
            on_use=None if meters is None else partial(meters.add, card.ref),
        )
        self._usual_calls = not calls
        self._own_batch = size
        self._canvas = _canvas_of(card)
        self._built: set[tuple[int, ...]] = set()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._call: Call | None = self._best_call(session)
        if findings is None:
            self._tell_findings()

    @property
    def batch(self) -> int:
        """How many pictures to hand over in one call for best use of the device; 1 on a CPU."""
        return self._batcher.batch

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs for one picture of the card's size, without the batch dimension.

        A network whose outputs have none (its own suppression is inside, as torchvision's detectors have it) runs one
        picture at a time; the first dimension of each is -1, for it varies.
        """
        return self._found.shapes

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory of the device."""
        return self._call is not None

    def load(self) -> None:
        """Have it in the device's memory. Raises: InvalidModel, GpuOutOfMemory."""
        self._loaded()

    def unload(self) -> None:
        """Give the device's memory back, once the calls that run have ended."""
        if is_gpu(self._device):
            enter(number_of(self._device))
        self._call = None
        self._built.clear()

    def asker(self, threads: int) -> Ask:
        """What asks a session of its own, with so many threads, for one made-up picture: to measure it."""
        spec = self.card.input
        raw, model = self._graph()
        session = self._session(raw, model, opening=replace(self._opening, threads=threads))
        feed = self._feeder.feed([trial_picture(spec.width, spec.height)] * self._own_batch)
        return lambda: run_session(session, feed)

    def adapt(self, choice: Choice) -> None:
        """Run with so many threads for a call, and so many calls at once, from now on."""
        self._batcher.allow(choice.calls)
        if choice.threads != self._opening.threads:
            self._opening = replace(self._opening, threads=choice.threads)
            self.unload()
            self.load()

    def graph(self) -> bytes:
        """The ONNX graph that is run: the card's own, or with its sizes made free. Raises: InvalidModel."""
        raw, model = self._graph()
        return model.SerializeToString() if raw is None else raw

    def feed(self, images: Sequence[Image]) -> Feed:
        """What the graph is fed for pictures (height, width, 3) of one shape; the last fills up a fixed batch."""
        missing = 0 if self._found.free_batch else self._own_batch - len(images)
        return self._feeder.feed([*images, *[images[-1]] * missing])

    def input_view(self, upstream: View) -> View:
        """The view that the network wants of a frame of which earlier steps made `upstream`.

        A letterbox is cut to the smallest multiple of 32 pixels that holds the frame, where the network was seen to
        take that size: 416x256 instead of 416x416 for a 16:9 frame. The card's profile may make it smaller still.
        """
        spec = self.card.input
        colour = upstream.with_format("bgr24" if spec.color == "bgr" else "rgb24")
        if spec.resize == "stretch":
            return colour.resized(spec.width, spec.height, mode="stretch")
        width, height, is_tight = self._canvas
        if self._resizable and width % STEP == 0 and height % STEP == 0:
            sizes = [(width, height)]
            if is_tight:
                tight = colour.resized(width, height, mode="fit", multiple_of=STEP)
                sizes.insert(0, (tight.width, tight.height))
            for size in sizes:
                view = colour.resized(*size, mode="letterbox", anchor=spec.anchor, pad=spec.pad)
                if self._takes(view):
                    return view
        return colour.resized(spec.width, spec.height, mode="letterbox", anchor=spec.anchor, pad=spec.pad)

    def run(self, images: Sequence[Image]) -> list[Outputs]:
        """Raw outputs for each picture (height, width, 3), all of the shape of one `input_view`.

        Without the batch dimension; numbers with a point as float32, others as they are. Pictures share calls with
        those of other threads and jobs, `batch` at a time. Raises: InvalidModel, GpuOutOfMemory.
        """
        return self._batcher.ask(images)

    def _run_batch(self, images: Sequence[Image]) -> list[Outputs]:
        """The outputs for 1 to `batch` pictures of one shape, in one call."""
        call = self._call or self._loaded()
        # More than fit now, where another call ran out of memory after these were chosen.
        size = max(len(images), self._batcher.batch) if self._found.free_batch else self._own_batch
        missing = size - len(images)
        feed = self._feeder.feed([*images, *[np.zeros_like(images[0])] * missing] if missing else images)
        shape = (size, *images[0].shape)
        if shape in self._built:
            outputs = call(feed)
        else:
            with self._building():
                outputs = call(feed)
            self._built.add(shape)
        return _per_picture(outputs, size, rows=self._found.rows)[: len(images)]

    def _loaded(self) -> Call:
        with self._loading:
            call = self._call
            if call is None:
                call = self._call = self._best_call(self._session(*self._graph()))
                logger.info("network loaded again %s", fields(model=self.card.ref, device=self._device))
            return call

    def _graph(self) -> tuple[bytes | None, ModelProto]:
        """The graph that is run, and its bytes where it is the card's own."""
        raw = self.card.read()
        return self._as_run(raw, read_graph(raw))

    def _as_run(self, raw: bytes, model: ModelProto) -> tuple[bytes | None, ModelProto]:
        spec = self.card.input
        return (None, freed(model, spec.layout, spec.extra)) if self._found.loose else (raw, model)

    def _session(
        self, raw: bytes | None, model: ModelProto, *, graphs: bool = False, opening: Opening | None = None
    ) -> onnxruntime.InferenceSession:
        """A session on a graph. raw: it as bytes, where it is as it was in its file."""
        if self._half and kind_of(self._device) == "cuda":
            raw = halved(model).SerializeToString()
        return open_session(
            model.SerializeToString() if raw is None else raw,
            device=self._device,
            opening=opening or self._opening,
            half=self._half,
            graphs=graphs,
        )

    def _best_call(self, session: onnxruntime.InferenceSession) -> Call:
        """How to call the network from now on: on CUDA by recorded graphs, where that works."""
        plain = call_of(session, self._device)
        # Without a row for each picture, how long the outputs are is up to the picture.
        if kind_of(self._device) != "cuda" or not self._opening.graphs or not self._found.rows:
            return plain
        try:
            recorded = self._session(*self._graph(), graphs=True)
            if recorded.get_providers()[0] != "CUDAExecutionProvider":
                return plain
            call = call_of(recorded, self._device, graphs=True)
            spec = self.card.input
            feed = self._feeder.feed([trial_picture(spec.width, spec.height)] * self._own_batch)
            for _ in range(3):  # one to learn shapes, one that records, one that plays back
                again = call(feed)
            same = all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(plain(feed), again, strict=True))
        except CvpipeError as error:
            logger.info("no recorded graphs %s", fields(model=self.card.ref, reason=repr(str(error)[:200])))
            return plain
        if not same:
            logger.warning("recorded graphs answer otherwise: not used %s", fields(model=self.card.ref))
            return plain
        if self._usual_calls:
            self._batcher.allow(_RECORDED_CALLS)
        return call

    def _building(self) -> Any:
        """A call on a shape that is new to the device; TensorRT may build for minutes."""
        if kind_of(self._device) == "tensorrt":
            return building({"model": self.card.ref, "device": self._device})
        return nullcontext()

    def _try(self, session: onnxruntime.InferenceSession, images: Sequence[Image]) -> list[npt.NDArray[Any]]:
        seconds = _TRIAL_SECONDS if kind_of(self._device) != "tensorrt" else 3600.0
        with self._building():
            return run_limited(session, self._feeder.feed(images), seconds=seconds)

    def _examined(
        self, session: onnxruntime.InferenceSession, model: ModelProto, image: ImageInput, *, is_batched: bool
    ) -> tuple[onnxruntime.InferenceSession, Findings]:
        """Try the network; the session to run it with, and what was found. session: on the graph as it is."""
        card, spec = self.card, self.card.input
        own_batch = image.batch or 1
        picture = trial_picture(spec.width, spec.height)
        rows, expected = self._trial(session, [picture] * own_batch)
        free_size = image.height is None and image.width is None
        free_batch = image.batch is None and rows
        if free_batch and is_batched:
            free_batch = self._why_not_in_batches(session, picture, expected) is None
        wants_size = card.rectangular and spec.resize == "letterbox" and rows and not free_size
        wants_batch = rows and image.batched and not free_batch and (is_batched or own_batch > 1)
        is_loose = False
        if wants_size or wants_batch:
            loose = self._loosened(freed(model, spec.layout, spec.extra), picture, expected)
            if loose is not None:
                session, free_size, free_batch, is_loose = loose, True, True, True
        shapes = tuple(output.shape if rows else (-1, *output.shape[1:]) for output in expected)
        sizes = {f"{spec.width}x{spec.height}": True}
        return session, Findings(rows, is_loose, free_size, free_batch, own_batch, shapes, sizes)

    def _tell_findings(self) -> None:
        if self._on_findings is not None:
            self._on_findings(self._found)

    def _trial(self, session: onnxruntime.InferenceSession, images: list[Image]) -> tuple[bool, Outputs]:
        """Whether outputs have a row for each picture, and those for the first picture.

        A network that takes one picture may have outputs without a batch dimension: told by a length other than 1 for
        a busy picture or a blank one.
        """
        busy = self._try(session, images)
        rows = all(output.ndim > 0 and len(output) == len(images) for output in busy)
        if len(images) == 1 and rows:
            blank = self._try(session, [np.zeros_like(images[0])])
            rows = all(len(output) == 1 for output in blank)
        return rows, _per_picture(busy, len(images), rows=rows)[0]

    def _why_not_in_batches(
        self, session: onnxruntime.InferenceSession, picture: Image, expected: Outputs
    ) -> str | None:
        """Why pictures can't go together: the network refuses, or answers otherwise than for one. None where they can.

        picture: one whose answer is `expected`.
        """
        try:
            outputs = _per_picture(self._try(session, [picture, picture[::-1]]), 2)[0]
        except (InvalidModel, GpuOutOfMemory) as error:
            return str(error)[:200]
        pairs = list(zip(outputs, expected, strict=True))
        if all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs):
            return None
        return "the answers differ"

    def _loosened(self, model: ModelProto, picture: Image, expected: Outputs) -> onnxruntime.InferenceSession | None:
        """A session on the edited graph, where it computes what the original does."""
        try:
            session = self._session(None, model)
            reason = self._why_not_in_batches(session, picture, expected)
        except InvalidModel as error:
            reason = str(error)[:200]
        if reason is None:
            return session
        logger.info("the sizes of a network are not free %s", fields(model=self.card.ref, reason=repr(reason)))
        return None

    def _takes(self, view: View) -> bool:
        """Whether the network was seen to work on the canvas of `view`; tried once for each size."""
        size = f"{view.width}x{view.height}"
        with self._lock:
            if size not in self._found.sizes:
                try:
                    self._found.sizes[size] = accepted = self._try_size(view)
                except GpuOutOfMemory:  # which says nothing of the network
                    return False
                logger.info("network input %s", fields(model=self.card.ref, size=size, accepted=accepted))
                self._tell_findings()
            return self._found.sizes[size]

    def _try_size(self, view: View) -> bool:
        """Compare the small canvas with the card's: the same picture must come out alike, cell by cell.

        Raises: GpuOutOfMemory.
        """
        spec = self.card.input
        _, _, width, height = view.content
        full = np.full((spec.height, spec.width, 3), spec.pad, np.uint8)
        full[:height, :width] = trial_picture(spec.width, spec.height)[:height, :width]
        small = np.full(view.shape, spec.pad, np.uint8)
        small[:height, :width] = full[:height, :width]
        try:
            wide, tight = (self._run_batch([picture])[0] for picture in (full, small))
        except InvalidModel:
            return False
        return answers_alike(wide, tight, ((spec.width, spec.height), (view.width, view.height)))


def _canvas_of(card: ModelCard) -> tuple[int, int, bool]:
    """Width and height of the canvas, in pixels, and whether it follows the video's shape; from the profile, if any."""
    spec, profile = card.input, card.profile
    if profile is None or profile.width > spec.width or profile.height > spec.height:
        return spec.width, spec.height, True
    return profile.width, profile.height, profile.rectangular


def _per_picture(outputs: list[npt.NDArray[Any]], batch: int, *, rows: bool = True) -> list[Outputs]:
    """The outputs of each picture. rows: whether they have one row for each; else they are of the only one."""
    tables = [output if output.dtype.kind in "iub" else np.asarray(output, np.float32) for output in outputs]
    if not rows and batch == 1:
        return [tuple(np.atleast_1d(output) for output in tables)]
    for output in outputs:
        if output.ndim < 1 or len(output) != batch:
            raise InvalidModel(f"wanted outputs with {batch} rows, one for each picture, got {output.shape}")
    return [tuple(output[i] for output in tables) for i in range(batch)]
