"""Two workers against one: the same job on the same machine, each worker with one thread."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.setup import VIDEO, models_folder, print_table, spread
from benchmarks.stepped import redis_in, submitted, workers
from cvpipe.settings import Settings


def main(assets: Path, pairs: int) -> None:
    """Frames per second of one worker and of two, in alternating rounds."""
    video = assets / "videos" / VIDEO
    request = {"path": str(video), "pipeline": "detect", "chunk_seconds": 5}
    fps: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        with redis_in(folder / "redis") as url:
            settings = Settings(
                data_dir=folder / "data", models_dir=models, device="cpu", redis_url=url, path_roots=str(video.parent)
            )
            for _ in range(pairs):
                for number, rates in fps.items():
                    with workers(settings, number, threads=1):
                        # Of many short chunks each worker gets some, and loads its network.
                        submitted(settings, request | {"range": {"from": 0, "to": 12}, "chunk_seconds": 1})
                        job, seconds = submitted(settings, request)
                        rates.append(job.progress.frames_done / seconds)
    ratios = [two / one for one, two in zip(fps[1], fps[2], strict=True)]
    rows = [
        ("one worker of one thread: frames/s", spread(fps[1])),
        ("two workers of one thread: frames/s", spread(fps[2])),
        ("two, of one", spread(ratios, "{:.2f}")),
    ]
    print_table(f"{VIDEO}, yolox-nano, {pairs} rounds", ("workers", "value"), rows)
