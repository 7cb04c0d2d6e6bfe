"""Two workers against one: the same job on the same machine, each worker with one thread.

Once each worker and its decoders have a core of their own, as on machines of their own; and once they share the cores,
where a single worker has the others for its decoders.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.setup import VIDEO, models_folder, print_table, spread
from benchmarks.stepped import redis_in, submitted, workers
from cvpipe.settings import Settings

_WAYS = ("a core each", "all cores for all")


def main(assets: Path, pairs: int) -> None:
    """Frames per second of one worker and of two, in alternating rounds."""
    video = assets / "videos" / VIDEO
    request = {"path": str(video), "pipeline": "detect", "chunk_seconds": 5}
    cores = sorted(os.sched_getaffinity(0))
    fps: dict[tuple[str, int], list[float]] = {(way, number): [] for way in _WAYS for number in (1, 2)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        with redis_in(folder / "redis") as url:
            settings = Settings(
                data_dir=folder / "data", models_dir=models, device="cpu", redis_url=url, path_roots=str(video.parent)
            )
            for _ in range(pairs):
                for (way, number), rates in fps.items():
                    own = cores if way == _WAYS[0] else None
                    with workers(settings, number, threads=1, cores=own):
                        # Of many short chunks each worker gets some, and loads its network.
                        submitted(settings, request | {"range": {"from": 0, "to": 12}, "chunk_seconds": 1})
                        job, seconds = submitted(settings, request)
                        rates.append(job.progress.frames_done / seconds)
    rows = []
    for way in _WAYS:
        one, two = fps[way, 1], fps[way, 2]
        ratios = [b / a for a, b in zip(one, two, strict=True)]
        rows.append((way, spread(one), spread(two), spread(ratios, "{:.2f}")))
    columns = ("workers of one thread", "one: frames/s", "two: frames/s", "two, of one")
    print_table(f"{VIDEO}, yolox-nano, {pairs} rounds", columns, rows)
