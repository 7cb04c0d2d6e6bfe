"""Which device ONNX Runtime really uses."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import io
import logging
import re
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime

from cvpipe.errors import DeviceUnavailable
from cvpipe.log import fields

logger = logging.getLogger(__name__)

Device = str
"""`cpu`, `cuda:N` or `tensorrt:N`; `cuda` and `tensorrt` are those of number 0."""

WANTED = r"^(auto|cpu|(cuda|tensorrt)(:\d{1,3})?)$"
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
CPU: Final = "CPUExecutionProvider"
# The arena grows with each new shape unless told to take what was asked. EXHAUSTIVE, the default search, picks the
# fastest convolution by the clock: two runs of one video could then differ in the last digits.
_CUDA_OPTIONS = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
_TENSORRT_LIBRARIES: Final = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
"""As ONNX Runtime 1.31 asks for them, in an order in which each finds those before it."""
_EXTRA = "Install cvpipe with the extra `gpu` (and not `cpu`) and an NVIDIA driver"


def kind_of(device: Device) -> str:
    """`cpu`, `cuda` or `tensorrt`."""
    return device.partition(":")[0]


def number_of(device: Device) -> int:
    """Which of several GPUs."""
    return int(device.partition(":")[2] or 0)


def is_gpu(device: Device) -> bool:
    """Whether pictures go there in batches of a fixed size."""
    return kind_of(device) != "cpu"


def choose(wanted: str) -> Device:
    """The device to run on, found by running something on it: `auto`, or a device by name.

    Raises: DeviceUnavailable where a GPU was asked for by name and ONNX Runtime would use another device instead (which
    it does silently), or there is no such device.
    """
    if not re.fullmatch(WANTED, wanted):
        raise DeviceUnavailable(f"there is no device {wanted!r}; wanted auto, cpu, cuda:N or tensorrt:N")
    if wanted == "cpu":
        return "cpu"
    asked = "cuda" if wanted == "auto" else wanted
    device: Device = f"{kind_of(asked)}:{number_of(asked)}"
    reason = _why_not(device)
    if reason is not None and wanted != "auto":
        raise DeviceUnavailable(
            f"device={wanted} was asked for, but {reason}. {_EXTRA}"
            f"{', and TensorRT' if kind_of(device) == 'tensorrt' else ''}, or set CVPIPE_DEVICE to `cpu` or `auto`."
        )
    if reason is not None:
        device = "cpu"
    logger.info("device chosen %s", fields(wanted=wanted, device=device, reason=repr(reason or "it works")))
    return device


def providers(device: Device, *, half: bool = False, engines: Path | None = None, graphs: bool = False) -> list[Any]:
    """ONNX Runtime's providers for `device`, in order of preference.

    half: compute with 16-bit floats (TensorRT; CUDA gets a graph of them). engines: folder in which TensorRT keeps what
    it has built. graphs: record a call's work once and play it back (CUDA).
    """
    if not is_gpu(device):
        return [CPU]
    number = str(number_of(device))
    cuda = {"device_id": number, **_CUDA_OPTIONS}
    if kind_of(device) == "cuda":
        return [(_CUDA, cuda | ({"enable_cuda_graph": "1"} if graphs else {})), CPU]
    trt = {"device_id": number, "trt_fp16_enable": str(half)}
    if engines is not None:
        folder = str(engines)
        trt |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": folder}
        trt |= {"trt_timing_cache_enable": "True", "trt_timing_cache_path": folder}
    return [(_TENSORRT, trt), (_CUDA, cuda), CPU]


def installed_runtimes() -> list[str]:
    """Which of the packages that share the import name `onnxruntime` are installed; more than one is a mistake."""
    found: list[str] = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def _why_not(device: Device) -> str | None:
    """None where a session really runs on the GPU, else the reason."""
    wanted, name = (_CUDA, "CUDA") if kind_of(device) == "cuda" else (_TENSORRT, "TensorRT")
    if wanted not in onnxruntime.get_available_providers():
        packages = installed_runtimes()
        if len(packages) > 1:
            return "both onnxruntime and onnxruntime-gpu are installed and overwrite each other"
        return f"the installed package {' '.join(packages) or 'onnxruntime'} has no {name} support"
    lacks = _load_libraries(device)
    try:
        session = onnxruntime.InferenceSession(_identity(), providers=providers(device), enable_fallback=0)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base; the reason is passed on
        return f"ONNX Runtime failed to start {name} on {device} ({str(error).strip()})"
    if session.get_providers()[0] != wanted:
        told = f" ({'; '.join(lacks)})" if lacks else ""
        return f"ONNX Runtime fell back to another device: a library of {name}, or the driver, is missing{told}"
    return None


def _load_libraries(device: Device) -> list[str]:
    """Have the libraries of packages in memory, where ONNX Runtime finds them by name; what failed, in its words."""
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from the nvidia-* packages, where they are installed
    found = importlib.util.find_spec("tensorrt_libs") if kind_of(device) == "tensorrt" else None
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        for library in _TENSORRT_LIBRARIES:
            with contextlib.suppress(OSError):  # of another version, or not there: the session tells
                ctypes.CDLL(str(Path(folder) / library))
    return [line for line in words.getvalue().splitlines() if line.startswith("Failed")]


def _identity() -> bytes:
    """The smallest network."""
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    opset = [onnx.helper.make_opsetid("", 13)]
    return bytes(onnx.helper.make_model(graph, ir_version=8, opset_imports=opset).SerializeToString())
