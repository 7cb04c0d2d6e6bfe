"""An ultralytics network: cvpipe against `ultralytics` itself, `predict(stream=True)`, on the same clip in one run.

`ultralytics` is in an environment of its own, `.bench/ultralytics`, and makes the network there, with random weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clips import FOLDER, make
from benchmarks.other_environment import installer
from benchmarks.setup import VIDEO, print_table, spread
from cvpipe.engine import run_local
from cvpipe.inference import find_card
from cvpipe.modelfiles import Limits, Wish, add_model
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings

NETWORK = "yolo11n"
_PACKAGES = ("ultralytics", "opencv-python-headless", "onnx", "torch", "torchvision")
_SECONDS_OF_CLIP = 15
_SCRIPT = Path(__file__).with_name("other_ultralytics.py")
_HERE = FOLDER / "ultralytics-files"


def main(assets: Path, pairs: int) -> None:
    """Frames per second of both, square and rectangular, in turns; ratios within a round."""
    if not _is_ready():
        return
    clip = FOLDER / "clips" / f"people-{_SECONDS_OF_CLIP}s.mp4"
    if not clip.exists():
        make(clip, "-i", str(assets / "videos" / VIDEO), "-t", str(_SECONDS_OF_CLIP), "-c", "copy")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = Settings(data_dir=folder / "data", models_dir=folder / "models", device="cpu")
        for shape in ("square", "rectangular"):
            wish = Wish(name=f"{NETWORK}-{shape}", labels="coco", family="ultralytics-yolo", width=640, height=640)
            network = _HERE / f"{NETWORK}-{shape}.onnx"
            card = add_model(network, wish, settings.models_path, Limits.of(settings)).card
            path = card.path.with_name("model.yaml")
            said = yaml.safe_load(path.read_text(encoding="utf-8"))
            path.write_text(yaml.safe_dump({**said, "rectangular": shape == "rectangular"}), encoding="utf-8")
            assert find_card(settings.models_path, card.name).rectangular is (shape == "rectangular")

        def ours(shape: str) -> tuple[int, float]:
            stage = {"type": "detect", "model": f"{NETWORK}-{shape}"}
            spec = parse_pipeline({"name": "bench", "stages": [stage]})
            ticks: list[float] = []  # as theirs: without loading and warming up
            job = run_local(
                clip, spec, folder / "out", settings=settings, on_progress=lambda *_: ticks.append(time.perf_counter())
            )
            return job["frames"]["total"], (len(ticks) - 1) / (ticks[-1] - ticks[0])

        def theirs(shape: str) -> tuple[int, float]:
            said = _said(shape, str(clip))
            return said["frames"], said["fps"]

        ways: dict[str, Callable[[], tuple[int, float]]] = {
            "predict(stream=True), square": lambda: theirs("square"),
            "predict(stream=True), rectangular": lambda: theirs("rectangular"),
            "cvpipe run, square": lambda: ours("square"),
            "cvpipe run, rectangular": lambda: ours("rectangular"),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        seen = set()
        for _ in range(pairs):
            for name, way in ways.items():
                frames, fps = way()
                seen.add(frames)
                rates[name].append(fps)
    assert len(seen) == 1, f"not the same frames: {seen}"
    square, rectangular = list(ways)[:2]
    rows = []
    for name, values in rates.items():
        ratios = [
            spread([a / b for a, b in zip(values, rates[other], strict=True)], "{:.2f}")
            for other in (square, rectangular)
        ]
        rows.append((name, spread(values), *ratios))
    title = f"{NETWORK} (random weights) at 640, {seen.pop()} frames of {VIDEO}, {pairs} rounds"
    print_table(title, ("way", "frames/s", "of theirs, square", "of theirs, rectangular"), rows)


def _is_ready() -> bool:
    """Whether the networks are there as ONNX; they are made once."""
    python, made = FOLDER / "ultralytics" / "bin" / "python", _HERE / f"{NETWORK}-rectangular.onnx"
    try:
        if not python.exists():
            print(f"installing {', '.join(_PACKAGES)} into {FOLDER.name}/ultralytics, once", flush=True)
            _run(sys.executable, "-m", "venv", str(FOLDER / "ultralytics"))
            _run(*installer(python), *_PACKAGES)
        if not made.exists():
            _HERE.mkdir(parents=True, exist_ok=True)
            _said("export", "")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        print(f"no ultralytics to compare with: {said[-1][:200] if said else 'it failed'}")
        return False
    return True


def _said(way: str, video: str) -> dict[str, Any]:
    python = FOLDER / "ultralytics" / "bin" / "python"
    lines = _run(str(python), str(_SCRIPT), way, NETWORK, str(_HERE), video).strip().splitlines()
    return dict(json.loads(lines[-1]))


def _run(*command: str) -> str:
    settings = {"YOLO_CONFIG_DIR": str(_HERE)}
    cwd = _HERE if _HERE.is_dir() else FOLDER.parent
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=900, cwd=cwd, env={**os.environ, **settings}
    )
    return done.stdout
