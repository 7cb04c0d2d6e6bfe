"""Calls on a GPU: buffers that stay where they are, in memory that the GPU can read by itself.

An ordinary call copies its input twice (into a staging area, then to the GPU) and asks for memory on the GPU each time.
Here pictures are written to page-locked memory, from which the GPU fetches them at full speed, into a buffer that the
session was bound to once for each shape. Where shapes are fixed, ONNX Runtime records the work of a call (a CUDA graph)
and plays it back, without the launch of each kernel: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

import ctypes
import logging
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from cvpipe.inference.devices import Device, number_of
from cvpipe.inference.feeds import Feed

logger = logging.getLogger(__name__)

_SHAPES_KEPT: Final = 4
_KIND: Final = "cuda"
"""What ONNX Runtime calls a place that is a GPU."""
_LIBRARIES: Final = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class HostMemory:
    """Page-locked memory; ordinary memory where CUDA's runtime library is not to be found (slower, not wrong).

    number: of the GPU. Any can read it; CUDA would else take room on the first one to keep account of it.
    """

    def __init__(self, number: int) -> None:
        self._number, self._library = number, cuda_runtime()

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array that stays locked as long as it lives."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pointer = ctypes.c_void_p()
        if self._library is None or not size or self._library.cudaSetDevice(ctypes.c_int(self._number)) != 0:
            return np.empty(shape, dtype)
        failed = self._library.cudaHostAlloc(ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_uint(0))
        if failed or not pointer.value:
            return np.empty(shape, dtype)
        buffer = (ctypes.c_ubyte * size).from_address(pointer.value)
        weakref.finalize(buffer, self._library.cudaFreeHost, pointer)
        return np.ndarray(shape, dtype, memoryview(buffer))


def cuda_runtime() -> ctypes.CDLL | None:
    """CUDA's runtime library, which ONNX Runtime has loaded; None where there is none."""
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def free_bytes(device: Device) -> tuple[int, int] | None:
    """Free and total memory of a GPU in bytes; None where it can't be asked."""
    library = cuda_runtime()
    if library is None or library.cudaSetDevice(ctypes.c_int(number_of(device))) != 0:
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return free.value, total.value


@dataclass(slots=True)
class _Binding:
    """Buffers for inputs of certain shapes. number: of the graph recorded for them."""

    io: Any
    host: Mapping[str, npt.NDArray[Any]]
    there: Mapping[str, Any]
    number: int


class BoundCall:
    """Calls a session on a GPU. Safe to call from several threads; two of them may be at work at once."""

    def __init__(self, session: onnxruntime.InferenceSession, device: Device, *, graphs: bool = False) -> None:
        """graphs: the session was opened to record graphs: it takes one call at a time then."""
        self._session, self._number, self._graphs = session, number_of(device), graphs
        self._outputs = [output.name for output in session.get_outputs()]
        self._memory = HostMemory(self._number)
        self._spare: dict[Shapes, list[_Binding]] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._made = 0

    def __call__(self, feed: Feed) -> list[npt.NDArray[Any]]:
        """All outputs. Raises: what ONNX Runtime does."""
        shapes: Shapes = tuple((name, array.shape) for name, array in feed.items())
        with self._lock:
            spare = self._spare.get(shapes)
            binding = spare.pop() if spare else None
        if binding is None:
            binding = self._bind(feed)
        for name, array in feed.items():
            np.copyto(binding.host[name], array)
            binding.there[name].update_inplace(binding.host[name])
        if self._graphs:
            with self._turn:
                options = onnxruntime.RunOptions()
                options.add_run_config_entry("gpu_graph_id", str(binding.number))
                self._session.run_with_iobinding(binding.io, options)
                outputs = binding.io.copy_outputs_to_cpu()
        else:
            self._session.run_with_iobinding(binding.io)
            outputs = binding.io.copy_outputs_to_cpu()
        with self._lock:
            self._spare.setdefault(shapes, []).append(binding)
            while len(self._spare) > _SHAPES_KEPT and not self._graphs:  # recorded graphs know the buffers by address
                del self._spare[next(iter(self._spare))]
        return list(outputs)

    def _bind(self, feed: Feed) -> _Binding:
        io = self._session.io_binding()
        host, there = {}, {}
        for name, array in feed.items():
            host[name] = self._memory.empty(array.shape, array.dtype)
            np.copyto(host[name], array)
            there[name] = onnxruntime.OrtValue.ortvalue_from_numpy(host[name], _KIND, self._number)
            io.bind_ortvalue_input(name, there[name])
        if self._graphs:
            self._bind_outputs(io)
        else:
            for name in self._outputs:
                io.bind_output(name, _KIND, self._number)
        with self._lock:
            self._made += 1
            return _Binding(io, host, there, self._made)

    def _bind_outputs(self, io: Any) -> None:
        """Outputs must stay where they are for a graph: their shapes are learnt in a call that records nothing."""
        for name in self._outputs:
            io.bind_output(name, _KIND, self._number)
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", "-1")
        with self._turn:
            self._session.run_with_iobinding(io, options)
            shapes = [(value.shape(), value.element_type()) for value in io.get_outputs()]
            io.clear_binding_outputs()
            for name, (shape, kind) in zip(self._outputs, shapes, strict=True):
                value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, _KIND, self._number)
                io.bind_ortvalue_output(name, value)
