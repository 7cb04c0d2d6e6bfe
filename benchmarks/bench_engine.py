"""`cvpipe run` against hand-written loops: the same network, video and cores, in alternating pairs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.clips import repeated
from benchmarks.setup import VIDEO, models_folder, network_as_run, print_table, spread
from benchmarks.tight_loop import Task, one_pipeline, two_pipelines
from cvpipe.engine import run_local
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings

_TIMES = 3
_HALVES = "loop: two single-threaded halves"
_DETECT = "cvpipe run, detect"

Ways = dict[str, Callable[[], tuple[int, float]]]


def main(assets: Path, pairs: int) -> None:
    """Frames per second of all, and each pair's ratio to the best loop; of that again where the video is longer."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        settings = Settings(data_dir=folder / "data", models_dir=models, device="cpu")
        video = assets / "videos" / VIDEO
        ways = _ways(video, models, settings, folder / "out")
        ways[_DETECT]()  # what is measured of a model when it is first used is measured here
        _compare(f"{VIDEO}, yolox-nano", ways, 1394, pairs)
        longer = repeated(video, _TIMES, folder / "longer.mp4")
        ways = _ways(longer, models, settings, folder / "out")
        few = {name: ways[name] for name in (_HALVES, _DETECT)}
        _compare(f"the same {_TIMES} times over", few, _TIMES * 1394, pairs)


def _ways(video: Path, models: Path, settings: Settings, out: Path) -> Ways:
    network, view = network_as_run(models, (768, 432))
    task = Task(video, network, view.width, view.height, view.content[2:])

    def cvpipe_run(pipeline: str) -> tuple[int, float]:
        spec = load_pipeline(pipeline, settings=settings)
        job = run_local(video, spec, out, settings=settings)
        return job["frames"]["total"], job["seconds"]

    return {
        "loop: decode thread, inference on all cores": lambda: one_pipeline(task),
        _HALVES: lambda: two_pipelines(task),
        _DETECT: lambda: cvpipe_run("detect"),
        "cvpipe run, detect and track": lambda: cvpipe_run("people"),
    }


def _compare(title: str, ways: Ways, expected: int, pairs: int) -> None:
    fps: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(pairs):
        for name, way in ways.items():
            frames, seconds = way()
            assert frames == expected, f"{name}: {frames} frames"
            fps[name].append(frames / seconds)
            print(f"{name}: {frames / seconds:.1f} frames/s", flush=True)
    loops = [name for name in ways if name.startswith("loop")]
    best = max(loops, key=lambda name: statistics.median(fps[name]))
    rows = []
    for name, values in fps.items():
        ratios = [value / other for value, other in zip(values, fps[best], strict=True)]
        rows.append((name, spread(values), spread(ratios, "{:.2f}")))
    print_table(f"{title}, {pairs} rounds", ("way", "frames/s", "of the best loop"), rows)
