"""Sessions of ONNX Runtime: opened for a device, and called."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from cvpipe.errors import (
    DeviceUnavailable,
    GpuOutOfMemory,
    InvalidModel,
    ModelTimeout,
    ModelTooMuchMemory,
    ModelUnsupported,
)
from cvpipe.inference.bound import BoundCall, enter, stand_apart
from cvpipe.inference.devices import CPU, Device, is_gpu, kind_of, number_of, providers
from cvpipe.inference.feeds import Feed
from cvpipe.inference.shares import current
from cvpipe.log import fields

logger = logging.getLogger(__name__)

Arrays = list[npt.NDArray[Any]]

_SAY_SECONDS: Final = 10.0
_NO_MEMORY: Final = (
    "out of memory",
    "failed to allocate memory",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "device_allocation_failed",  # as cuDNN 9 has it
)
_MEMORY: Final = ("bad_alloc", "allocate memory", "bad allocation", "allocation failed", "out of memory", "MemoryError")
_UNSUPPORTED: Final = (
    "is not a registered", "Could not find an implementation", "Unsupported model IR", "only *guarantees*",
    "NOT_IMPLEMENTED", "No Op registered", "unsupported", "no opset import", "opset",
)  # fmt: skip
_ENDED: Final = "terminate flag being set"


@dataclass(frozen=True, slots=True)
class Opening:
    """How sessions are opened here. threads: of one call, on a CPU. engines: where TensorRT keeps what it has built."""

    device: Device = "cpu"
    threads: int = 1
    engines: Path | None = None
    graphs: bool = True


class Call(Protocol):
    """A network's call: all outputs for a feed. Safe to call from several threads."""

    def __call__(self, feed: Feed) -> Arrays:
        """Raises: InvalidModel, GpuOutOfMemory."""
        ...


class LoadableSession:
    """A session that can give back what it holds in memory; it is opened again when it is next asked for.

    Safe to use from several threads.
    """

    def __init__(self, read: Callable[[], bytes], *, device: Device) -> None:
        """read: the ONNX file's bytes, whenever they are needed. Raises as `open_session` does."""
        self._read, self._device = read, device
        self._lock = threading.Lock()
        self._session: onnxruntime.InferenceSession | None = open_session(read(), device=device)

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The session. Raises as `open_session` does, where it has to be opened again."""
        return self._session or self._opened()

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory of the device."""
        return self._session is not None

    def load(self) -> None:
        """Have it in the device's memory. Raises as `open_session` does."""
        self._opened()

    def unload(self) -> None:
        """Give the device's memory back, once the calls that run have ended."""
        if is_gpu(self._device):
            enter(number_of(self._device))
        self._session = None

    def _opened(self) -> onnxruntime.InferenceSession:
        with self._lock:
            session = self._session
            if session is None:
                session = self._session = open_session(self._read(), device=self._device)
            return session


def open_session(
    raw: bytes, *, device: Device, opening: Opening | None = None, half: bool = False, graphs: bool = False
) -> onnxruntime.InferenceSession:
    """A session on the ONNX file's bytes. From bytes, because then ONNX Runtime reads no other file.

    On a CPU a call uses one thread unless told otherwise: workers call from as many threads as there are cores.
    half: with 16-bit floats (TensorRT). graphs: see `providers`. Raises: InvalidModel, GpuOutOfMemory,
    DeviceUnavailable.
    """
    way = opening or Opening(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = way.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and told once; whether a graph takes batches is tried
    # Idle threads would spin on the cores that other chunks need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if is_gpu(device):
        enter(number_of(device))
    engines = None
    if kind_of(device) == "tensorrt" and way.engines is not None:
        # Each graph has a folder of its own: what TensorRT calls a graph is not unique.
        engines = way.engines / hashlib.sha256(raw).hexdigest()[:16]
        engines.mkdir(parents=True, exist_ok=True)
    try:
        chosen = providers(device, half=half, engines=engines, graphs=graphs) if is_gpu(device) else providers(device)
        # Without `enable_fallback=0` it goes over to the CPU by itself where the GPU fails: here, and in each call.
        session = onnxruntime.InferenceSession(raw, options, providers=chosen, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise _converted(error, "ONNX Runtime can't load the model", on_gpu=is_gpu(device)) from error
    wanted = chosen[0] if isinstance(chosen[0], str) else chosen[0][0]
    if session.get_providers()[0] != wanted:
        raise DeviceUnavailable(f"ONNX Runtime can't use {device} any more: it would run the model elsewhere")
    return session


def run_session(session: onnxruntime.InferenceSession, feed: Feed, options: Any = None) -> Arrays:
    """All outputs of one call. Raises: InvalidModel where ONNX Runtime refuses it, GpuOutOfMemory."""
    if on_gpu := session.get_providers()[0] != CPU:
        stand_apart()
    try:
        return list(session.run(None, feed, options))
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise _converted(error, "the network does not run", on_gpu=on_gpu) from error


def _converted(error: Exception, what: str, *, on_gpu: bool) -> InvalidModel | GpuOutOfMemory:
    """What is raised for an error of ONNX Runtime, whose arena says of no memory not whose it was."""
    words = str(error).lower()
    if on_gpu and any(sign in words for sign in _NO_MEMORY):
        return GpuOutOfMemory(f"{what}: the GPU is out of memory")
    return told(error, what)


def told(error: Exception, what: str) -> InvalidModel:
    """The error of ONNX Runtime, by what its words say."""
    words = " ".join(str(error).split())[:600]
    if isinstance(error, InvalidModel):
        return error
    if isinstance(error, MemoryError) or any(word in words for word in _MEMORY):
        return ModelTooMuchMemory(f"{what}: it wants more memory than allowed ({words[-200:]})")
    if any(word in words for word in _UNSUPPORTED):
        return ModelUnsupported(f"{what}: {words}")
    if _ENDED in words:
        return ModelTimeout(f"{what}: it takes too long")
    return InvalidModel(f"{what}: {words}")


def run_limited(session: onnxruntime.InferenceSession, feed: Feed, *, seconds: float) -> Arrays:
    """A call with a time limit, for a network that is not known yet: a Loop of 2**60 steps never returns."""
    options = onnxruntime.RunOptions()
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        outputs = run_session(session, feed, options)
    finally:
        timer.cancel()
    if not all(type(output) is np.ndarray and output.dtype.kind in "fiub" for output in outputs):
        raise InvalidModel("wanted outputs that are tensors of numbers")
    return outputs


@contextmanager
def building(what: Mapping[str, Any], *, every_seconds: float = _SAY_SECONDS) -> Iterator[None]:
    """Say that an engine is being built, in the log and to the job, for as long as it takes: minutes, on some GPUs."""
    share, started, over = current(), time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(every_seconds):
            seconds = round(time.monotonic() - started)
            logger.info("TensorRT still builds an engine %s", fields(**what, seconds=seconds))
            share.say(f"TensorRT builds an engine for {what.get('model', 'a model')}: {seconds} s so far")

    logger.info("TensorRT builds an engine, unless it has one: this may take minutes %s", fields(**what))
    share.say(f"TensorRT builds an engine for {what.get('model', 'a model')}")
    teller = threading.Thread(target=tell, name="engine", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
        share.say(None)
        logger.info("TensorRT is ready %s", fields(**what, seconds=round(time.monotonic() - started, 1)))


def call_of(session: onnxruntime.InferenceSession, device: Device, *, graphs: bool = False) -> Call:
    """How to call a session best: with buffers that stay on the GPU, or as it is."""
    if is_gpu(device) and session.get_providers()[0] != "CPUExecutionProvider":
        bound = BoundCall(session, device, graphs=graphs)

        def on_gpu(feed: Feed) -> Arrays:
            return _guarded(bound, feed)

        return on_gpu
    return lambda feed: run_session(session, feed)


def _guarded(run: Callable[[Feed], Arrays], feed: Feed) -> Arrays:
    try:
        return run(feed)
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise _converted(error, "the network does not run", on_gpu=True) from error
