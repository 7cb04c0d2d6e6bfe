"""Two workers against one: the same job on the same machine, each worker with one thread.

Once each worker and its decoders have a core of their own, as on machines of their own; and once they share the cores,
where a single worker has the others for its decoders. Beside them the network alone, in one process and in two, each on
a core of its own: what the machine gives.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.setup import VIDEO, models_folder, print_table, spread
from benchmarks.stepped import redis_in, submitted, workers
from benchmarks.tight_loop import infer, open_network
from cvpipe.inference import find_card
from cvpipe.settings import Settings

_ALONE = "the network alone, a core each"
_WAYS = ("workers, a core each", "workers, all cores for all")
_START_SECONDS = 4
_MEASURED_SECONDS = 5


def main(assets: Path, pairs: int) -> None:
    """Frames per second of one worker and of two, in alternating rounds."""
    video = assets / "videos" / VIDEO
    request = {"path": str(video), "pipeline": "detect", "chunk_seconds": 5}
    cores = sorted(os.sched_getaffinity(0))
    fps: dict[tuple[str, int], list[float]] = {(way, number): [] for way in (_ALONE, *_WAYS) for number in (1, 2)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        with redis_in(folder / "redis") as url:
            settings = Settings(
                data_dir=folder / "data", models_dir=models, device="cpu", redis_url=url, path_roots=str(video.parent)
            )
            for _ in range(pairs):
                for (way, number), rates in fps.items():
                    if way == _ALONE:
                        rates.append(_alone(find_card(models, "yolox-nano").path, cores[:number]))
                        continue
                    own = cores if way == _WAYS[0] else None
                    with workers(settings, number, threads=1, cores=own):
                        # Of many short chunks each worker gets some, and loads its network.
                        submitted(settings, request | {"range": {"from": 0, "to": 12}, "chunk_seconds": 1})
                        job, seconds = submitted(settings, request)
                        rates.append(job.progress.frames_done / seconds)
    rows = []
    for way in (_ALONE, *_WAYS):
        one, two = fps[way, 1], fps[way, 2]
        ratios = [b / a for a, b in zip(one, two, strict=True)]
        rows.append((way, spread(one), spread(two), spread(ratios, "{:.2f}")))
    columns = ("way, one thread each", "one: frames/s", "two: frames/s", "two, of one")
    print_table(f"{VIDEO}, yolox-nano, {pairs} rounds", columns, rows)


def _alone(network: Path, cores: Sequence[int]) -> float:
    """Calls a second of a process on each of these cores, together."""
    start = time.time() + _START_SECONDS
    with ProcessPoolExecutor(len(cores), mp_context=get_context("spawn")) as pool:
        return sum(pool.map(_call_alone, *zip(*((network.read_bytes(), core, start) for core in cores), strict=True)))


def _call_alone(network: bytes, core: int, start: float) -> float:
    os.sched_setaffinity(0, {core})
    session = open_network(network, threads=1)
    picture = np.full((1, 3, 416, 416), 114, np.float32)
    infer(session, picture)
    time.sleep(max(0, start - time.time()))
    began, calls = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < _MEASURED_SECONDS:
        infer(session, picture)
        calls += 1
    return calls / seconds
