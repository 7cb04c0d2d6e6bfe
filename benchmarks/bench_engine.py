"""`cvpipe run` against hand-written loops: the same network, video and cores, in alternating pairs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.setup import VIDEO, models_folder, network_as_run, print_table, spread
from benchmarks.tight_loop import Task, one_pipeline, two_pipelines
from cvpipe.engine import run_local
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings


def main(assets: Path, pairs: int) -> None:
    """Frames per second of all, and each pair's ratio to the best loop."""
    video = assets / "videos" / VIDEO
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        network, view = network_as_run(models, (768, 432))
        task = Task(video, network, view.width, view.height, view.content[2:])
        settings = Settings(data_dir=folder / "data", models_dir=models, device="cpu")

        def cvpipe_run(pipeline: str) -> tuple[int, float]:
            spec = load_pipeline(pipeline, settings=settings)
            job = run_local(video, spec, folder / "out", settings=settings)
            return job["frames"]["total"], job["seconds"]

        ways: dict[str, Callable[[], tuple[int, float]]] = {
            "loop: decode thread, inference on all cores": lambda: one_pipeline(task),
            "loop: two single-threaded halves": lambda: two_pipelines(task),
            "cvpipe run, detect": lambda: cvpipe_run("detect"),
            "cvpipe run, detect and track": lambda: cvpipe_run("people"),
        }
        cvpipe_run("detect")  # what is measured of a model when it is first used is measured here
        fps: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(pairs):
            for name, way in ways.items():
                frames, seconds = way()
                assert frames == 1394, f"{name}: {frames} frames"
                fps[name].append(frames / seconds)
                print(f"{name}: {frames / seconds:.1f} frames/s", flush=True)
    loops = [name for name in ways if name.startswith("loop")]
    best = max(loops, key=lambda name: statistics.median(fps[name]))
    rows = []
    for name, values in fps.items():
        ratios = [value / other for value, other in zip(values, fps[best], strict=True)]
        rows.append((name, spread(values), spread(ratios, "{:.2f}")))
    size = f"{view.width}x{view.height}"
    print_table(f"{VIDEO}, yolox-nano at {size}, {pairs} rounds", ("way", "frames/s", "of the best loop"), rows)
