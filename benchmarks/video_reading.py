"""1080p30 to 640x360 RGB: cvpipe's reader beside those that others use."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.clips import textured
from benchmarks.other_environment import python_for
from benchmarks.parallel import CORES, ffmpeg_decode, read_chunks, run_program, stretched
from benchmarks.setup import print_table, spread
from cvpipe.video import Decoders

_WIDTH, _HEIGHT = 640, 360
_PLAIN = "ffmpeg, decoding alone"
_SCALED = "ffmpeg, scaled to rgb24 (bicubic, its default)"
_OTHERS = {
    "PyAV, to_ndarray, all defaults": "pyav_naive",
    "PyAV, frame threads, one reformatter": "pyav_tuned",
    "OpenCV VideoCapture, resize": "opencv",
    "decord": "decord",
    "torchcodec": "torchcodec",
}

Took = tuple[float, float]
"""Seconds and processor seconds."""


def measure(rounds: int) -> None:
    """Print the table: frames per second, as ratio to `ffmpeg` decoding alone, and processor time of a frame."""
    path = textured(60, 24)
    others, missing, versions = _others(path)
    took: dict[str, list[Took]] = {}
    with Decoders() as decoders:
        index = decoders.index(path)
        view = stretched(index, _WIDTH, _HEIGHT)
        count = len(index)

        def cvpipe() -> Took:
            # At least two chunks a core, so that all cores have work to the end of a clip so short.
            chunk_seconds = min(10.0, index.facts.duration_seconds / (2 * CORES))
            done = read_chunks(decoders, path, index, np.arange(count), view, chunk_seconds=chunk_seconds)
            assert done.frames == count, done.frames
            return done.seconds, done.cpu_seconds

        ways: dict[str, Callable[[], Took]] = {
            _PLAIN: lambda: ffmpeg_decode(path)[:2],
            "cvpipe, a decoder process for each core": cvpipe,
            _SCALED: lambda: ffmpeg_decode(path, "-vf", f"scale={_WIDTH}:{_HEIGHT}", "-pix_fmt", "rgb24")[:2],
            **{name: (lambda name=name: others[name]()) for name in others},
        }
        for number in range(rounds):
            print(f"reading 1080p, round {number + 1} of {rounds}", flush=True)
            for name, way in ways.items():
                took.setdefault(name, []).append(way())
    plain = [seconds for seconds, _ in took[_PLAIN]]
    ratios = {name: [p / seconds for p, (seconds, _) in zip(plain, took[name], strict=True)] for name in took}
    rows = [
        (
            name + versions.get(name, ""),
            spread([count / seconds for seconds, _ in took[name]], "{:.0f}"),
            spread(ratios[name], "{:.2f}"),
            f"{statistics.median(cpu for _, cpu in took[name]) / count * 1e3:.1f}",
        )
        for name in sorted(took, key=lambda name: -statistics.median(ratios[name]))
    ]
    rows += [(f"{name}: not measured, {why}", "", "", "") for name, why in missing.items()]
    print_table(
        f"{count} frames of 1080p30 h264 to {_WIDTH}x{_HEIGHT} RGB, {CORES} cores, {rounds} rounds",
        ("reader", "frames/s", "of ffmpeg alone", "CPU ms/frame"),
        rows,
    )


def _others(path: Path) -> tuple[dict[str, Callable[[], Took]], dict[str, str], dict[str, str]]:
    """How to run each of the others; which can't be, and why; versions of what is not in cvpipe's environment."""
    script = str(Path(__file__).with_name("other_readers.py"))
    ways: dict[str, Callable[[], Took]] = {}
    missing: dict[str, str] = {}
    versions: dict[str, str] = {}
    for name, way in _OTHERS.items():
        python: Path | None = Path(sys.executable)
        why = ""
        if way in ("decord", "torchcodec"):
            python, why = python_for(way)
        if python is None:
            missing[name] = why
            continue
        command = (str(python), script, way, str(path), str(_WIDTH), str(_HEIGHT))

        def run(command: tuple[str, ...] = command) -> Took:
            said = json.loads(run_program(*command)[2].splitlines()[-1])
            return said["seconds"], said["cpu_seconds"]

        if way in ("decord", "torchcodec"):
            said = json.loads(run_program(*command)[2].splitlines()[-1])["versions"]
            versions[name] = f" {said[way]}" + (f" (torch {said['torch']})" if way == "torchcodec" else "")
        ways[name] = run
    return ways, missing, versions
