"""What each stage costs, by its own example, and what is saved where stages share one decode.

Each example of docs/stages.md runs on a part of the people's video in this process. Time that is not the reading of the
frames alone is the stages' own. Examples whose models are not at hand are rows that say so.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.setup import VIDEO, print_table, spread
from cvpipe.engine import run_local
from cvpipe.errors import CvpipeError
from cvpipe.frames import View
from cvpipe.job import TimeRange
from cvpipe.pipeline import PipelineSpec, parse_pipeline
from cvpipe.pipeline.reference import example_of
from cvpipe.settings import Settings
from cvpipe.stages import discover
from cvpipe.video import Decoders, Limits
from tests.people import write_cards

_FROM, _TO = 60, 76  # 160 frames; people on nearly all of them
_SHARED: tuple[dict[str, Any], ...] = (
    {"type": "edges"},
    {"type": "lines"},
    {"type": "fourier"},
    {"type": "quality"},
    {"type": "detect", "model": "yolox-nano"},
    {"type": "segment", "model": "deeplab-voc"},
)


@dataclass(frozen=True, slots=True)
class _Run:
    """A pipeline that ran: frames looked at, and the seconds from the first of them on."""

    frames: int
    seconds: float


def main(assets: Path, pairs: int) -> None:
    """Two tables."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = write_cards(folder / "models", assets)
        settings = Settings(data_dir=folder / "data", models_dir=models, device="cpu", threads=1)
        video = assets / "videos" / VIDEO
        _each(lambda spec: _run(spec, video, folder / "out", settings), lambda: _reading(video, settings), pairs)
        _together(lambda spec: _run(spec, video, folder / "out", settings), pairs)


def _run(spec: PipelineSpec, video: Path, out: Path, settings: Settings) -> _Run:
    part = TimeRange.model_validate({"from": _FROM, "to": _TO})
    began = 0.0

    def on_progress(done: int, total: int) -> None:
        nonlocal began
        began = began or time.perf_counter()  # starting decoders and loading networks are no part of it

    job = run_local(video, spec, out, settings=settings, range=part, on_progress=on_progress)
    return _Run(job["frames"]["total"], time.perf_counter() - began)


def _reading(video: Path, settings: Settings) -> _Run:
    """The same frames, decoded and made BGR as they are, and nothing else."""
    with Decoders(limits=Limits.of(settings)) as decoders:
        index = decoders.index(video)
        numbers = np.flatnonzero((index.times >= _FROM) & (index.times < _TO))
        view = View.of(index.facts.display_width, index.facts.display_height)
        began = 0.0
        with decoders.read(video, index, numbers, [view]) as frames:
            for frame in frames:
                began = began or time.perf_counter()
                frame.release()
        return _Run(len(numbers), time.perf_counter() - began)


def _each(run: Callable[[PipelineSpec], _Run], read: Callable[[], _Run], pairs: int) -> None:
    rows = []
    for kind, stage in sorted(discover().items()):
        try:
            spec = example_of(stage)
            run(spec)  # warm: what is measured of models is measured here
        except CvpipeError as error:
            rows.append((kind, "-", "-", str(error).partition(" in /")[0][:70]))
            continue
        alone: list[float] = []
        added: list[float] = []
        for _ in range(pairs):
            base, whole = read(), run(spec)
            alone.append(1000 * whole.seconds / whole.frames)
            added.append(1000 * (whole.seconds / whole.frames - base.seconds / base.frames))
        shown = " > ".join(str(getattr(options, "type", "")) for options in spec.stages)
        rows.append((kind, spread(alone), spread(added), shown))
    print_table(
        f"{VIDEO}, {_FROM} to {_TO} s, one thread, {pairs} rounds: ms for each frame looked at",
        ("stage", "its example", "beyond reading", "example"),
        rows,
    )


def _together(run: Callable[[PipelineSpec], _Run], pairs: int) -> None:
    whole = parse_pipeline({"name": "together", "stages": list(_SHARED)})
    alone = [parse_pipeline({"name": "alone", "stages": [stage]}) for stage in _SHARED]
    ratios, together, apart = [], [], []
    for _ in range(pairs + 1):
        one = run(whole)
        each = [run(spec) for spec in alone]
        together.append(1000 * one.seconds / one.frames)
        apart.append(1000 * sum(other.seconds for other in each) / one.frames)
        ratios.append(together[-1] / apart[-1])
    names = ", ".join(str(stage["type"]) for stage in _SHARED)
    rows = [
        ("one pipeline, ms for each frame", spread(together[1:])),
        ("a job for each stage, ms for each frame", spread(apart[1:])),
        ("one pipeline, of a job for each", spread(ratios[1:], "{:.2f}")),
    ]
    print_table(f"one decode shared by {names}", ("what", "value"), rows)
