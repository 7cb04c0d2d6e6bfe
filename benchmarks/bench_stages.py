"""What each stage costs, by its own example, and what is saved where stages share one decode.

Each example of docs/stages.md runs on a part of the people's video in this process. Time that is not the reading of the
frames alone is the stages' own; it is written to `benchmarks/stages.json`, where docs/stages.md has it from (`make
stages`). `external` asks a server of this process, which answers at once.

`python -m benchmarks.bench_stages KIND ...` measures some of them only, and leaves the figures of the others.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.setup import VIDEO, assets_folder, print_table, spread
from cvpipe.engine import run_local
from cvpipe.frames import View
from cvpipe.job import TimeRange
from cvpipe.pipeline import PipelineSpec, parse_pipeline
from cvpipe.pipeline.reference import COSTS, example_of
from cvpipe.settings import Settings
from cvpipe.stages import discover
from cvpipe.video import Decoders, Limits
from tests.people import write_cards
from tests.receivers import Asked, Said, receiving

_FROM, _TO = 60, 76  # 160 frames; people on nearly all of them
_ANSWER: Final = {"choices": [{"message": {"content": json.dumps({"colour": "white"})}}]}
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


def main(assets: Path, pairs: int, kinds: Sequence[str] = ()) -> None:
    """Two tables; with kinds the rows of these stages alone. Writes the figures to `COSTS`."""
    with tempfile.TemporaryDirectory() as temporary, receiving(_answer) as server:
        folder = Path(temporary)
        models = write_cards(folder / "models", assets)
        secrets = folder / "secrets.yaml"
        secrets.write_text(json.dumps({"models": {"server": server.url, "value": "none"}}))
        settings = Settings(
            data_dir=folder / "data",
            models_dir=models,
            device="cpu",
            threads=1,
            outside_loopback=True,
            outside_secrets=secrets,
        )
        video = assets / "videos" / VIDEO

        def run(spec: PipelineSpec) -> _Run:
            return _run(spec, video, folder / "out", settings)

        examples = {kind: _example(kind, server.url) for kind in kinds or sorted(discover())}
        _each(examples, run, lambda: _reading(video, settings), pairs)
        if not kinds:
            _together(run, pairs)


def _answer(_: Asked) -> Said:
    return Said(body=json.dumps(_ANSWER).encode())


def _example(kind: str, url: str) -> PipelineSpec:
    """A stage's example; questions go to the server at `url`."""
    written = example_of(discover()[kind]).model_dump(mode="json")
    for stage in written["stages"]:
        if stage["type"] == "external":
            stage["url"] = url
    return parse_pipeline(written)


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


def _each(
    examples: dict[str, PipelineSpec], run: Callable[[PipelineSpec], _Run], read: Callable[[], _Run], pairs: int
) -> None:
    rows = []
    bases: list[float] = []
    measured: dict[str, float] = {}
    for number, (kind, spec) in enumerate(examples.items(), 1):
        print(f"{number} of {len(examples)}: {kind}", file=sys.stderr, flush=True)
        run(spec)  # warm: what is measured of models is measured here
        alone: list[float] = []
        added: list[float] = []
        for _ in range(pairs):
            base, whole = read(), run(spec)
            bases.append(1000 * base.seconds / base.frames)
            alone.append(1000 * whole.seconds / whole.frames)
            added.append(alone[-1] - bases[-1])
        shown = " > ".join(str(getattr(options, "type", "")) for options in spec.stages)
        rows.append((kind, spread(alone), spread(added), shown))
        measured[kind] = round(max(0.0, statistics.median(added)), 1)
    _write(measured, reading=round(statistics.median(bases), 1), rounds=pairs)
    print_table(
        f"{VIDEO}, {_FROM} to {_TO} s, one thread, {pairs} rounds: ms for each frame looked at",
        ("stage", "its example", "beyond reading", "example"),
        rows,
    )


def _write(measured: dict[str, float], *, reading: float, rounds: int) -> None:
    """Put figures into `COSTS`, beside those of stages that were not measured now and are still there."""
    known = json.loads(COSTS.read_text(encoding="utf-8"))["example_ms"] if COSTS.is_file() else {}
    figures = {kind: ms for kind, ms in (known | measured).items() if kind in discover()}
    told = {
        "video": VIDEO,
        "from_seconds": _FROM,
        "to_seconds": _TO,
        "threads": 1,
        "rounds": rounds,
        "reading_ms": reading,
        "example_ms": dict(sorted(figures.items())),
    }
    COSTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


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


if __name__ == "__main__":
    main(assets_folder(), 2, sys.argv[1:])
