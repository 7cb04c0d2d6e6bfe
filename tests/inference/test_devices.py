"""Devices: CUDA is used, or refused, never silently replaced."""

from __future__ import annotations

import logging
from typing import Any

import onnxruntime
import pytest

from cvpipe.errors import DeviceUnavailable
from cvpipe.inference import devices

CUDA = "CUDAExecutionProvider"


class FakeSession:
    """Claims to run on the providers given to the class."""

    providers: tuple[str, ...] = ()

    def __init__(self, raw: bytes, providers: list[Any], enable_fallback: int) -> None:
        assert providers[0][0] == CUDA
        assert not enable_fallback

    def get_providers(self) -> list[str]:
        return list(self.providers)


def make_runtime(monkeypatch: pytest.MonkeyPatch, *, available: list[str], really: tuple[str, ...]) -> None:
    """An ONNX Runtime that offers the providers `available` and uses `really`."""
    if not really or really[0] != CUDA:
        told = "Failed to load libcublas.so.13: no such file\nPlease follow https://onnxruntime.ai"
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print(told))
    else:
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", type("Session", (FakeSession,), {"providers": really}))


CPU_ONLY: dict[str, Any] = {"available": ["CPUExecutionProvider"], "really": ()}
FALLS_BACK: dict[str, Any] = {"available": [CUDA, "CPUExecutionProvider"], "really": ("CPUExecutionProvider",)}
WORKS: dict[str, Any] = {"available": [CUDA, "CPUExecutionProvider"], "really": (CUDA, "CPUExecutionProvider")}


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [(CPU_ONLY, "has no CUDA support"), (FALLS_BACK, r"fell back to another.*\(Failed to load libcublas.*file\)")],
    ids=["no CUDA in the package", "silent fallback"],
)
def test_cuda_that_is_not_there_is_refused(
    runtime: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_runtime(monkeypatch, **runtime)
    with pytest.raises(DeviceUnavailable, match=rf"device=cuda was asked for, but .*{reason}.*CVPIPE_DEVICE"):
        devices.choose("cuda")
    assert capsys.readouterr().out == ""  # where a program's results go


@pytest.mark.parametrize(
    ("runtime", "device"),
    [(CPU_ONLY, "cpu"), (FALLS_BACK, "cpu"), (WORKS, "cuda:0")],
    ids=["no CUDA in the package", "silent fallback", "CUDA works"],
)
def test_auto_says_in_one_line_what_it_took(
    runtime: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_runtime(monkeypatch, **runtime)
    with caplog.at_level(logging.INFO, "cvpipe"):
        assert devices.choose("auto") == device
    assert [f"wanted=auto device={device}" in record.getMessage() for record in caplog.records] == [True]


def test_both_packages_together_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    make_runtime(monkeypatch, **CPU_ONLY)
    monkeypatch.setattr(devices, "installed_runtimes", lambda: ["onnxruntime", "onnxruntime-gpu"])
    with pytest.raises(DeviceUnavailable, match="overwrite each other"):
        devices.choose("cuda")


def test_the_cpu_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    assert devices.choose("cpu") == "cpu"
    assert devices.providers("cpu") == ["CPUExecutionProvider"]


def test_the_installed_package_is_found() -> None:
    assert len(devices.installed_runtimes()) == 1


@pytest.mark.gpu
def test_cuda_really_runs() -> None:
    assert devices.choose("cuda") == "cuda:0"
