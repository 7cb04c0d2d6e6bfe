"""GPUs: what can be told without one, with stand-ins for it, and what only one can tell."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from cvpipe.errors import DeviceUnavailable, GpuOutOfMemory, InvalidModel
from cvpipe.inference import bound, devices, find_card, sessions
from cvpipe.inference.bound import BoundCall
from cvpipe.inference.graphs import read_graph
from cvpipe.inference.networks import OnnxNetwork
from cvpipe.inference.precision import halved
from cvpipe.inference.sessions import Opening
from cvpipe.inference.shares import Share, working_for
from tests.conftest import no_gpu
from tests.modelcards import mean_network, model_bytes, write_yolox_card

CUDA = "CUDAExecutionProvider"
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 256, 416, 3), np.uint8)


@pytest.mark.parametrize(
    ("device", "names", "number"),
    [
        ("cuda:0", ["CUDAExecutionProvider"], "0"),
        ("cuda:2", ["CUDAExecutionProvider"], "2"),
        ("tensorrt:1", ["TensorrtExecutionProvider", "CUDAExecutionProvider"], "1"),
    ],
)
def test_the_gpu_that_was_named_is_asked_for(device: str, names: list[str], number: str) -> None:
    *gpus, cpu = devices.providers(device)
    assert cpu == "CPUExecutionProvider"
    assert [name for name, _ in gpus] == names
    assert {options["device_id"] for _, options in gpus} == {number}


def test_tensorrt_keeps_what_it_builds(tmp_path: Path) -> None:
    (_, options), *_ = devices.providers("tensorrt:0", half=True, engines=tmp_path)
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert options["trt_fp16_enable"] == "True"


def test_a_job_is_told_that_an_engine_is_built_and_for_how_long(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str | None] = []
    with (
        caplog.at_level(logging.INFO, "cvpipe"),
        working_for(Share("job", tell=said.append)),
        sessions.building({"model": "yolox@1", "device": "tensorrt:0"}, every_seconds=0.05),
    ):
        time.sleep(0.3)
    assert said[0] == "TensorRT builds an engine for yolox@1"
    assert said[1] == "TensorRT builds an engine for yolox@1: 0 s so far"
    assert said[-1] is None
    assert "TensorRT is ready" in caplog.messages[-1]


@pytest.mark.parametrize(
    "words",
    [
        "void* onnxruntime::BFCArena::AllocateRawInternal() Failed to allocate memory for requested buffer of size 9",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; file=cuda_call.cc",
        "CUDNN failure 5003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    ],
)
def test_a_gpu_out_of_memory_is_told_from_a_network_that_is_wrong(words: str) -> None:
    def run(where: str, words: str) -> None:
        session = FailingSession(where, words)
        sessions.run_session(session, {})  # type: ignore[arg-type]

    with pytest.raises(GpuOutOfMemory):
        run(CUDA, words)
    with pytest.raises(InvalidModel):  # half the pictures would be no help
        run("CPUExecutionProvider", words)
    with pytest.raises(InvalidModel):
        run(CUDA, "Got invalid dimensions for input: image")


class FailingSession:
    def __init__(self, where: str, words: str) -> None:
        self._where, self._words = where, words

    def get_providers(self) -> list[str]:
        return [self._where]

    def run(self, *_: Any) -> None:
        raise RuntimeError(self._words)


def test_a_model_is_never_opened_elsewhere_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime goes over to the CPU by itself where a GPU fails, when a session is made and in each call."""
    asked: list[dict[str, Any]] = []

    def opened_on(where: str) -> Any:
        def open_session(*_: Any, **how: Any) -> FailingSession:
            asked.append(how)
            return FailingSession(where, "")

        return open_session

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened_on("CPUExecutionProvider"))
    with pytest.raises(DeviceUnavailable, match="can't use cuda:0 any more"):
        sessions.open_session(b"", device="cuda:0")
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened_on(CUDA))
    sessions.open_session(b"", device="cuda:0")
    assert [how["enable_fallback"] for how in asked] == [0, 0]


def test_a_network_in_half_floats_answers_alike_and_takes_floats() -> None:
    raw = mean_network()
    image = np.random.default_rng(0).random((1, 3, 160, 160), np.float32)
    answers = []
    for graph in (raw, halved(read_graph(raw)).SerializeToString()):
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        answers.append(np.asarray(session.run(None, {"image": image})[0]))
    full, half = answers
    assert full.dtype == half.dtype == np.float32
    assert not np.array_equal(full, half)
    assert half == pytest.approx(full, abs=2e-3)


class There:
    """A value on the GPU: has the content it was last given."""

    made = 0

    def __init__(self, content: np.ndarray) -> None:
        self.content = content.copy()

    @classmethod
    def ortvalue_from_numpy(cls, content: np.ndarray, kind: str, number: int) -> There:
        assert (kind, number) == ("cuda", 1)
        cls.made += 1
        return cls(content)

    def update_inplace(self, content: np.ndarray) -> None:
        self.content[...] = content


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, There] = {}
        self.outputs: list[str] = []

    def bind_ortvalue_input(self, name: str, value: There) -> None:
        self.inputs[name] = value

    def bind_output(self, name: str, kind: str, number: int) -> None:
        assert (kind, number) == ("cuda", 1)
        self.outputs.append(name)

    def clear_binding_outputs(self) -> None:
        self.outputs.clear()

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        return [self.inputs["image"].content * 2 for _ in self.outputs]


class GpuSession:
    """Stands in for a session on a GPU: doubles its input."""

    def get_outputs(self) -> list[Any]:
        return [type("Output", (), {"name": "twice"})]

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding) -> None:
        assert binding.outputs == ["twice"]


def test_buffers_are_made_once_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound.onnxruntime, "OrtValue", There)
    monkeypatch.setattr(There, "made", 0)
    call = BoundCall(GpuSession(), "cuda:1")  # type: ignore[arg-type]
    first, second = np.full((2, 3), 5, np.float32), np.full((2, 3), 7, np.float32)
    (a,), (b,) = call({"image": first}), call({"image": second})
    assert (a.tolist(), b.tolist()) == ((first * 2).tolist(), (second * 2).tolist())
    assert There.made == 1
    call({"image": np.zeros((4, 3), np.float32)})
    call({"image": first})
    assert There.made == 2


class Runtime:
    """Stands in for CUDA's runtime library, on ordinary memory. entered: threads that work with the GPU."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self.entered: set[int] = set()
        self.given, self.taken = 0, 0

    def cudaSetDevice(self, number: ctypes.c_int) -> int:  # noqa: N802 - CUDA's name
        return int(number.value != 0)

    def cudaThreadExchangeStreamCaptureMode(self, mode: Any) -> int:  # noqa: N802 - CUDA's name
        if mode._obj.value == 1:
            self.entered.add(threading.get_ident())
        return 0

    def cudaHostAlloc(self, pointer: Any, size: ctypes.c_size_t, flags: ctypes.c_uint) -> int:  # noqa: N802 - CUDA's name
        pointer._obj.value = self._libc.malloc(size)
        self.given += 1
        return 0

    def cudaFreeHost(self, pointer: ctypes.c_void_p) -> int:  # noqa: N802 - CUDA's name
        self._libc.free(pointer)
        self.taken += 1
        return 0

    def cudaMemcpy(self, to: Any, source: Any, size: ctypes.c_size_t, kind: ctypes.c_int) -> int:  # noqa: N802 - CUDA's name
        ctypes.memmove(to, source, size.value)
        return 0


@pytest.fixture(params=[False, True], ids=["without CUDA's library", "with CUDA's library"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Runtime | None:
    """ONNX Runtime binds buffers of a CPU in the same way; what it records on a GPU, it computes there."""
    made = Runtime() if request.param else None
    monkeypatch.setattr(bound, "_KIND", "cpu")
    monkeypatch.setattr(bound, "cuda_runtime", lambda: made)
    return made


@pytest.mark.parametrize("graphs", [False, True], ids=["plain calls", "recorded graphs"])
def test_binding_does_with_onnx_runtime_what_it_is_to_do(graphs: bool, runtime: Runtime | None) -> None:
    session = onnxruntime.InferenceSession(mean_network(), providers=["CPUExecutionProvider"])
    call = BoundCall(session, "cuda:0", graphs=graphs)
    random = np.random.default_rng(0)
    kept = []
    for _ in range(3):
        image = random.random((1, 3, 160, 160), np.float32)
        expected = session.run(None, {"image": image})
        answer = call({"image": image})
        assert [a.tolist() for a in answer] == [np.asarray(e).tolist() for e in expected]
        kept.append((answer[0], answer[0].copy()))
    assert all(np.array_equal(a, b) for a, b in kept)  # what was handed out is not written over by the next call
    if runtime is not None:
        assert runtime.given == 2  # for what goes in, and for what comes back
        del call
        gc.collect()
        assert runtime.taken == 2


def test_what_comes_back_may_be_as_long_as_it_is(runtime: Runtime | None) -> None:
    """As from a network with its own suppression: ONNX Runtime would keep a buffer of the first length."""
    nodes = [
        helper.make_node("NonZero", ["image"], ["places"]),
        helper.make_node("Cast", ["places"], ["where"], to=TensorProto.FLOAT),
    ]
    raw = model_bytes(nodes, inputs={"image": [4]}, outputs={"where": None})
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    call = BoundCall(session, "cuda:0")
    found = [call({"image": np.array(row, np.float32)})[0].tolist() for row in ([1, 0, 1, 0], [0] * 4, [1] * 4)]
    assert found == [[[0, 2]], [[]], [[0, 1, 2, 3]]]


def test_graphs_are_recorded_on_one_thread_whoever_asks(
    runtime: Runtime | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime has the graphs of each thread apart, and keeps them when the thread has ended."""
    session = onnxruntime.InferenceSession(mean_network(), providers=["CPUExecutionProvider"])
    seen: list[int] = []
    run = session.run_with_iobinding

    def look(io: Any, options: Any) -> None:
        seen.append(threading.get_ident())
        run(io, options)

    monkeypatch.setattr(session, "run_with_iobinding", look)
    call = BoundCall(session, "cuda:0", graphs=True)
    asking: set[int] = set()

    def ask(value: int) -> float:
        asking.add(threading.get_ident())
        return float(call({"image": np.full((1, 3, 160, 160), value, np.float32)})[0].max())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(20))) == pytest.approx(list(range(20)))
    assert len(seen) > 20
    assert len(set(seen)) == 1
    assert not asking & set(seen)
    if runtime is not None:  # none of them is in the way of another's recording
        assert asking | set(seen) <= runtime.entered


def test_an_engine_is_told_of_for_each_shape_that_is_new(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = opened(tmp_path, assets, "cpu")
    kept = sessions.open_session
    monkeypatch.setattr(
        "cvpipe.inference.networks.open_session", lambda raw, **how: kept(raw, **how | {"device": "cpu"})
    )
    monkeypatch.setattr("cvpipe.inference.networks.call_of", lambda session, *_: sessions.call_of(session, "cpu"))
    said: list[str | None] = []
    network._device = "tensorrt:0"  # the call stays the CPU's
    with working_for(Share("job", tell=said.append)):
        for pictures in (PICTURES[:1], PICTURES[1:2], PICTURES[:1, :128]):
            network.run(pictures)
        assert said == ["TensorRT builds an engine for yolox-nano@1", None] * 2
        network.unload()
        network.run(PICTURES[:1])
    assert len(said) == 6


def opened(folder: Path, assets: Path, device: str, **how: Any) -> OnnxNetwork:
    write_yolox_card(folder, assets)
    card = find_card(folder, "yolox-nano").model_copy(update={"precision": how.pop("precision", "fp32")})
    return OnnxNetwork(card, device=device, opening=Opening(device, engines=folder / "engines", **how))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-2), ("fp16", 5e-2)], ids=["32-bit floats", "16-bit floats"]
)
@pytest.mark.parametrize("graphs", [True, False], ids=["recorded graphs", "plain calls"])
def test_cuda_answers_like_the_cpu(
    precision: str, tolerance: float, graphs: bool, assets: Path, tmp_path: Path
) -> None:
    expected = opened(tmp_path, assets, "cpu").run(PICTURES)
    network = opened(tmp_path, assets, "cuda:0", graphs=graphs, precision=precision)
    for _ in range(2):
        for (a,), (b,) in zip(network.run(PICTURES), expected, strict=True):
            assert a[:, 4:] == pytest.approx(b[:, 4:], abs=tolerance)


@pytest.mark.gpu
def test_a_gpu_answers_the_same_in_every_company(assets: Path, tmp_path: Path) -> None:
    network = opened(tmp_path, assets, "cuda:0")
    alone = [network.run([picture])[0][0] for picture in PICTURES]
    together = [out for (out,) in network.run(PICTURES)]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.gpu
def test_memory_of_a_gpu_is_known() -> None:
    free = bound.free_bytes("cuda:0")
    assert free is not None
    assert 0 < free[0] <= free[1]


@pytest.mark.gpu
def test_tensorrt_answers_like_the_cpu_and_keeps_its_engine(assets: Path, tmp_path: Path) -> None:
    if (reason := no_gpu("tensorrt:0")) is not None:  # no part of the extra `gpu`, which is what is promised
        pytest.skip(reason)
    expected = opened(tmp_path, assets, "cpu").run(PICTURES)
    for (a,), (b,) in zip(opened(tmp_path, assets, "tensorrt:0").run(PICTURES), expected, strict=True):
        assert a[:, 4:] == pytest.approx(b[:, 4:], abs=1e-2)
    assert list((tmp_path / "engines").rglob("*.engine"))
