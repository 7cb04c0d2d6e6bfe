"""The command that shows what only a GPU can, tried without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from tests.conftest import no_gpu


def test_the_command_measures_all_there_is_and_judges_nothing_without_a_gpu(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--tiny", "--no-tests", "--out", str(out)]) == 0
    told = json.loads(out.read_text())
    figures = told["figures"]
    assert figures["decoded and scaled by cpu, frames/s"] > 0
    assert figures["  of them by (cpu)"] == {"cpu": 40}
    assert figures["network alone, pictures/s"] > 0
    assert figures["whole way by cpu, frames/s"] > 0
    assert figures["agreement with the CPU (device, cpu)"] == 1.0
    assert {verdict for *_, verdict in told["rows"]} == {"", "not judged"}
    assert "what a GPU shows" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_fails_the_command(assets: Path, tmp_path: Path) -> None:
    if no_gpu() is None:
        pytest.skip("there is a GPU")
    out = tmp_path / "gpu.json"
    assert gpu.main(["--tiny", "--no-tests", "--out", str(out)]) == 1
    rows = {what: (shown, verdict) for what, shown, _, verdict in json.loads(out.read_text())["rows"]}
    shown, verdict = rows["decoders and network alone"]
    assert verdict == "FAILED"
    assert shown.startswith("DeviceUnavailable: device=cuda:0 was asked for")


def test_figures_below_what_is_wanted_are_failures() -> None:
    report = gpu.Report(judged=True)
    report.judge("busy", 0.91, gpu.BUSY)
    assert report.is_well
    report.judge("of the ceiling", 0.84, gpu.OF_CEILING)
    report.judge("busy", None, gpu.BUSY)
    assert [verdict for *_, verdict in report.rows] == ["ok", "FAILED", "FAILED"]
    assert not report.is_well


def test_the_whole_way_is_measured_without_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 10.5, 11.0, 13.0])
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: next(now))
    pace = gpu.Pace()
    for done in (10, 25, 50, 100):
        pace(done, 100)
    assert pace.rate == 75 / 2.5
    assert gpu.Pace().rate == 0
