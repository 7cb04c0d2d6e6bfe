"""Which device ONNX Runtime really uses."""

from __future__ import annotations

import importlib.metadata
import logging
from typing import Any, Literal

import onnx
import onnxruntime

from cvpipe.errors import DeviceUnavailable
from cvpipe.log import fields

logger = logging.getLogger(__name__)

Device = Literal["cpu", "cuda"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
# The arena grows with each new shape unless told to take what was asked. EXHAUSTIVE, the default search, picks the
# fastest convolution by the clock: two runs of one video could then differ in the last digits.
_CUDA_OPTIONS = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}


def choose(wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """The device to run on, found by running something on it.

    Raises: DeviceUnavailable where CUDA was asked for by name and ONNX Runtime would use the CPU instead (which it does
    silently).
    """
    if wanted == "cpu":
        return "cpu"
    reason = _why_no_cuda()
    if reason is None:
        device: Device = "cuda"
    elif wanted == "cuda":
        raise DeviceUnavailable(
            f"device=cuda was asked for, but {reason}. Install cvpipe with the extra `gpu` (and not `cpu`) and an "
            "NVIDIA driver, or set CVPIPE_DEVICE to `cpu` or `auto`."
        )
    else:
        device = "cpu"
    logger.info("device chosen %s", fields(wanted=wanted, device=device, reason=repr(reason or "CUDA works")))
    return device


def providers(device: Device) -> list[Any]:
    """ONNX Runtime's providers for `device`, in order of preference."""
    return [(_CUDA, _CUDA_OPTIONS), _CPU] if device == "cuda" else [_CPU]


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


def _why_no_cuda() -> str | None:
    """None where a session really runs on CUDA, else the reason."""
    if _CUDA not in onnxruntime.get_available_providers():
        packages = installed_runtimes()
        if len(packages) > 1:
            return "both onnxruntime and onnxruntime-gpu are installed and overwrite each other"
        return f"the installed package {' '.join(packages) or 'onnxruntime'} has no CUDA support"
    onnxruntime.preload_dlls()  # CUDA and cuDNN from the nvidia-* packages, where they are installed
    try:
        session = onnxruntime.InferenceSession(_identity(), providers=[_CUDA, _CPU])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base; the reason is passed on
        return f"ONNX Runtime failed to start CUDA ({error})"
    if session.get_providers()[0] != _CUDA:
        return "ONNX Runtime fell back to the CPU: a library of CUDA or cuDNN, or the driver, is missing"
    return None


def _identity() -> bytes:
    """The smallest network."""
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    opset = [onnx.helper.make_opsetid("", 13)]
    return bytes(onnx.helper.make_model(graph, ir_version=8, opset_imports=opset).SerializeToString())
