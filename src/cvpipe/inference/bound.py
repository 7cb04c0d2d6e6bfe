"""Calls on a GPU: buffers that stay where they are, in memory that the GPU can read by itself.

An ordinary call copies its input twice (into a staging area, then to the GPU) and asks for memory on the GPU each time.
Here pictures are written to page-locked memory, from which the GPU fetches them at full speed, into a buffer that the
session was bound to once for each shape; what comes back goes the same way, while Python's lock is free. Where shapes
are fixed, ONNX Runtime records the work of a call (a CUDA graph) and plays it back, without the launch of each kernel:
https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from cvpipe.inference.devices import Device, number_of
from cvpipe.inference.feeds import Feed

_SHAPES_KEPT: Final = 4
_KIND: Final = "cuda"
"""What ONNX Runtime calls a place that is a GPU."""
_LIBRARIES: Final = ("libcudart.so.13", "libcudart.so.12")
_THREAD_LOCAL: Final = 1  # cudaStreamCaptureModeThreadLocal
_STRING: Final = onnx.TensorProto.STRING
_EITHER_WAY: Final = 4  # cudaMemcpyDefault: CUDA knows whose memory an address is

Array = npt.NDArray[Any]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class HostMemory:
    """Page-locked memory; ordinary memory where CUDA's runtime library is not to be found (slower, not wrong).

    number: of the GPU. Any can read it; CUDA would else take room on the first one to keep account of it.
    """

    def __init__(self, number: int) -> None:
        self._number, self._library = number, cuda_runtime()

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array that stays locked as long as it lives."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pointer = ctypes.c_void_p()
        if self._library is None or not size or not enter(self._number):
            return np.empty(shape, dtype)
        failed = self._library.cudaHostAlloc(ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_uint(0))
        if failed or not pointer.value:
            return np.empty(shape, dtype)
        buffer = (ctypes.c_ubyte * size).from_address(pointer.value)
        weakref.finalize(buffer, self._library.cudaFreeHost, pointer)
        return np.ndarray(shape, dtype, memoryview(buffer))

    def fetch(self, value: Any, into: Array) -> None:
        """Copy a tensor of ONNX Runtime, of the same size, wherever it is. Raises: RuntimeError."""
        assert self._library is not None
        to, source, size = (ctypes.c_void_p(into.ctypes.data), ctypes.c_void_p(value.data_ptr()), into.nbytes)
        failed = self._library.cudaMemcpy(to, source, ctypes.c_size_t(size), ctypes.c_int(_EITHER_WAY))
        if failed:
            raise RuntimeError(f"CUDA failure {failed}: what the network said could not be fetched")

    @property
    def is_locked(self) -> bool:
        """Whether CUDA's runtime library is there."""
        return self._library is not None


def cuda_runtime() -> ctypes.CDLL | None:
    """CUDA's runtime library, if ONNX Runtime has loaded it: one of another version would know nothing of its work."""
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
    return None


def enter(number: int) -> bool:
    """Let this thread work with a GPU, beside others (`stand_apart`). False where that can't be."""
    library = cuda_runtime()
    if library is None or library.cudaSetDevice(ctypes.c_int(number)) != 0:
        return False
    stand_apart()
    return True


def stand_apart() -> None:
    """Let this thread use CUDA whatever other threads record.

    While one records a graph, as ONNX Runtime does it (cudaStreamCaptureModeGlobal), all others that ask for memory or
    give it back are refused, and the record is spoilt; but for those that have said that they have no part in it:
    https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__STREAM.html
    """
    library = cuda_runtime()
    if library is not None:
        library.cudaThreadExchangeStreamCaptureMode(ctypes.byref(ctypes.c_int(_THREAD_LOCAL)))


def free_bytes(device: Device) -> tuple[int, int] | None:
    """Free and total memory of a GPU in bytes; None where it can't be asked."""
    library = cuda_runtime()
    if library is None or not enter(number_of(device)):
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return free.value, total.value


@dataclass(slots=True)
class _Binding:
    """Buffers for inputs of certain shapes. number: of the graph recorded for them. back: for what comes back."""

    io: Any
    host: Mapping[str, Array]
    there: Mapping[str, Any]
    number: int
    back: dict[str, Array] = field(default_factory=dict)


class BoundCall:
    """Calls a session on a GPU. Safe to call from several threads; several of them may be at work at once."""

    def __init__(self, session: onnxruntime.InferenceSession, device: Device, *, graphs: bool = False) -> None:
        """graphs: the session was opened to record graphs: one call computes at a time then."""
        self._session, self._number, self._graphs = session, number_of(device), graphs
        self._outputs = [output.name for output in session.get_outputs()]
        self._memory = HostMemory(self._number)
        self._spare: dict[Shapes, list[_Binding]] = {}
        self._lock = threading.Lock()
        # ONNX Runtime has the graphs of each thread apart, and of one that has ended never lets go.
        self._recorder = ThreadPoolExecutor(1, thread_name_prefix="recorder") if graphs else None
        self._made = 0

    def __call__(self, feed: Feed) -> list[Array]:
        """All outputs. Raises: what ONNX Runtime does; RuntimeError."""
        enter(self._number)
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
            self._play(binding.io, binding.number)
        else:
            self._bind_outputs(binding.io)  # anew: how much comes back may depend on what is in the pictures
            self._session.run_with_iobinding(binding.io)
        outputs = self._fetch(binding)
        with self._lock:
            self._spare.setdefault(shapes, []).append(binding)
            while len(self._spare) > _SHAPES_KEPT and not self._graphs:  # recorded graphs know the buffers by address
                del self._spare[next(iter(self._spare))]
        return outputs

    def _bind(self, feed: Feed) -> _Binding:
        io = self._session.io_binding()
        host, there = {}, {}
        for name, array in feed.items():
            host[name] = self._memory.empty(array.shape, array.dtype)
            np.copyto(host[name], array)
            there[name] = onnxruntime.OrtValue.ortvalue_from_numpy(host[name], _KIND, self._number)
            io.bind_ortvalue_input(name, there[name])
        if self._graphs:
            self._fix_outputs(io)
        with self._lock:
            self._made += 1
            return _Binding(io, host, there, self._made)

    def _bind_outputs(self, io: Any) -> None:
        io.clear_binding_outputs()
        for name in self._outputs:
            io.bind_output(name, _KIND, self._number)

    def _fix_outputs(self, io: Any) -> None:
        """Outputs must stay where they are for a graph: their shapes are learnt in a call that records nothing."""
        self._bind_outputs(io)
        self._play(io, -1)
        shapes = [(value.shape(), value.element_type()) for value in io.get_outputs()]
        io.clear_binding_outputs()
        for name, (shape, kind) in zip(self._outputs, shapes, strict=True):
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, _KIND, self._number)
            io.bind_ortvalue_output(name, value)

    def _play(self, io: Any, number: int) -> None:
        """Run with recorded graphs, on the thread that has them. number: of the graph; -1: without one."""
        assert self._recorder is not None
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        self._recorder.submit(_run, self._session.run_with_iobinding, self._number, io, options).result()

    def _fetch(self, binding: _Binding) -> list[Array]:
        """What a call has said. ONNX Runtime's own way holds Python's lock all the time."""
        values = binding.io.get_outputs() if self._memory.is_locked else []
        if not values or not all(value.is_tensor() and value.element_type() != _STRING for value in values):
            return list(binding.io.copy_outputs_to_cpu())
        outputs = []
        for name, value in zip(self._outputs, values, strict=True):
            shape, dtype = tuple(value.shape()), onnx.helper.tensor_dtype_to_np_dtype(value.element_type())
            back = binding.back.get(name)
            if back is None or (back.shape, back.dtype) != (shape, dtype):
                back = binding.back[name] = self._memory.empty(shape, dtype)
            if back.nbytes:
                self._memory.fetch(value, back)
            outputs.append(back.copy())
        return outputs


def _run(run: Callable[..., None], number: int, io: Any, options: Any) -> None:
    enter(number)
    run(io, options)
