"""A short run of the fuzzer of models: each mutant ends in success or a documented code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cvpipe.errors import ModelTimeout
from cvpipe.modelfiles import Limits, Wish, process
from tests.fuzz.hostile import mutant, seeds


@pytest.mark.slow
def test_forty_mutants_end_in_success_or_a_documented_code(root: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.models", "--count", "40", "--seed", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 mutants: " in done.stdout
    assert "\n0 did not end as they must" in done.stdout
    for code in ("'ok'", "'model_external_data'", "'model_timeout'", "'model_memory'", "'model_unreadable'"):
        assert code in done.stdout


def test_a_loop_without_end_is_ended(tmp_path: Path) -> None:
    good = seeds(None)
    raw = next(raw for what, raw in (mutant(good, seed) for seed in range(2000)) if what.startswith("endless loop"))
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    with pytest.raises(ModelTimeout, match="longer than 4 s"):
        process.examine(path, Wish(), "mutant", Limits(seconds=4))


def test_a_mutant_is_the_same_for_the_same_seed() -> None:
    good = seeds(None)
    assert [mutant(good, seed) for seed in range(30)] == [mutant(good, seed) for seed in range(30)]
