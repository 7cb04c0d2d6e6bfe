"""Batches: how full they are when there is enough to do, crops across frames, and what a pipeline of networks costs."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.setup import VIDEO, print_table, spread
from cvpipe.engine import run_local
from cvpipe.inference import find_card
from cvpipe.inference.meters import Meters, Use
from cvpipe.inference.networks import OnnxNetwork
from cvpipe.inference.sessions import Opening
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from tests.people import add_shared

BATCH = 8
_FRAMES = 160
_THREADS = len(os.sched_getaffinity(0))
_CROPS = 3  # on each frame


def main(assets: Path, pairs: int) -> None:
    """Two tables: batches on one queue, and pipelines of several networks."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = folder / "models"
        for name in ("yolox-nano", "deeplab-voc", "person-reid"):
            add_shared(models, assets, name)
        _queue(models, pairs)
        _pipeline(folder, models, assets / "videos" / VIDEO, pairs)


def _queue(models: Path, pairs: int) -> None:
    """Crops of frames, asked for by as many threads as chunks would; batches of a fixed size, as on a GPU.

    One call at a time, on all cores: a device that one crop does not fill.
    """
    rng = np.random.default_rng(0)
    card = find_card(models, "person-reid")
    crops = [list(rng.integers(0, 256, (_CROPS, card.input.height, card.input.width, 3), np.uint8)) for _ in range(8)]
    ways: dict[str, Callable[[], tuple[float, Use]]] = {
        "one by one, 1 thread": lambda: _ask(models, crops, batch=1, threads=1),
        f"batches of {BATCH}, each frame's crops alone, 1 thread": lambda: _ask(models, crops, batch=BATCH, threads=1),
        f"batches of {BATCH}, across frames, 16 threads": lambda: _ask(models, crops, batch=BATCH, threads=16),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    uses: dict[str, Use] = {}
    for _ in range(pairs):
        for name, way in ways.items():
            seconds, uses[name] = way()
            rates[name].append(_FRAMES * _CROPS / seconds)
    rows = [
        (name, spread(values), f"{uses[name].fill:.2f}", f"{uses[name].waste:.2f}") for name, values in rates.items()
    ]
    print_table(
        f"{_CROPS} crops on each of {_FRAMES} frames, {card.ref}, one call at a time on {_THREADS} cores",
        ("way", "crops/s", "batch fill", "padding waste"),
        rows,
    )


def _ask(models: Path, crops: Sequence[list[np.ndarray]], *, batch: int, threads: int) -> tuple[float, Use]:
    meters = Meters()
    card = find_card(models, "person-reid")
    opening = Opening("cpu", threads=_THREADS)
    network = OnnxNetwork(card, device="cpu", opening=opening, batch=batch, calls=1, meters=meters)
    left = iter(range(_FRAMES))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            assert len(network.run(crops[number % len(crops)])) == _CROPS

    started = time.perf_counter()
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started, Use.of(meters.models()[card.ref])


def _pipeline(folder: Path, models: Path, video: Path, pairs: int) -> None:
    """Networks on every frame and a vector for every person, against the time that the networks took."""
    settings = Settings(data_dir=folder / "data", models_dir=models, device="cpu")
    detect = {"type": "detect", "model": "yolox-nano", "classes": ["person"]}
    segment = {"type": "segment", "model": "deeplab-voc"}
    embed = {"type": "embed", "model": "person-reid", "of": "detect"}
    part = TimeRange.model_validate({"from": 20, "to": 30})
    rows = []
    for stages in ([detect, embed], [detect, segment, embed]):
        spec = parse_pipeline({"name": "several", "stages": stages})
        run_local(video, spec, folder / "out", settings=settings, range=part)  # what is measured of models is so here
        ratios, rates = [], []
        for _ in range(pairs):
            job = run_local(video, spec, folder / "out", settings=settings)
            device = sum(use["device_seconds"] for use in job["usage"].values())
            ratios.append(job["seconds"] * min(_THREADS, job["chunks"]) / device)
            rates.append(job["frames"]["total"] / job["seconds"])
        names = ", ".join(str(stage["model"]) for stage in stages)
        rows.append((names, spread(rates), spread(ratios, "{:.2f}")))
    print_table(
        f"{VIDEO}: networks on frames, person-reid on each person, {_THREADS} threads",
        ("networks", "frames/s", "all threads' time, of the networks'"),
        rows,
    )
