"""Memory: a thousand short jobs in one worker, and what a real worker takes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.setup import VIDEO, models_folder, print_table
from benchmarks.stepped import Stepped, redis_in, resident_mib, submitted, workers
from cvpipe.settings import Settings
from cvpipe.tenants import DEFAULT, owned
from tests.video.clips import make_clip, x264

JOBS = 1000
MOST_MIB = 300
_STEPS = (1, 10, 50, 100, 250, 500, 750, 1000)


def main(assets: Path, pairs: int, *, jobs: int = JOBS) -> None:
    """Two tables; raises AssertionError where a worker takes more than it may, or more with each job."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        clip = make_clip(folder / "short.mp4", frames=6, options=x264())
        with redis_in(folder / "redis") as url:
            settings = Settings(
                data_dir=folder / "data", models_dir=models, device="cpu", redis_url=url,
                path_roots=f"{folder}:{assets / 'videos'}",
            )  # fmt: skip
            _thousand(settings, clip, jobs)
            _worker(settings, assets / "videos" / VIDEO)


def _thousand(settings: Settings, clip: Path, jobs: int) -> None:
    service = Stepped(settings, threads=2)
    taken: dict[int, float] = {}
    started = time.perf_counter()
    for number in range(1, jobs + 1):
        done = service.run({"path": str(clip), "pipeline": "people", "chunk_seconds": 0.2})
        service.store.delete_job(owned(DEFAULT, done.id))
        if number in _STEPS or number == jobs:
            taken[number] = resident_mib()
    rows = [(f"after job {number:,}", f"{mib:.0f}") for number, mib in taken.items()]
    service.close()
    each = (time.perf_counter() - started) / jobs * 1000
    print_table(
        f"{jobs:,} jobs (detect, track) through one process, {each:.0f} ms each",
        ("when", "MiB"),
        rows,
    )
    base = taken.get(50, next(iter(taken.values())))
    assert taken[jobs] <= base * 1.05 + 2, f"job {jobs} needs {taken[jobs]:.0f} MiB, job 50 {base:.0f}"


def _worker(settings: Settings, video: Path) -> None:
    with workers(settings, 1, threads=2) as (pid,):
        idle = resident_mib(pid)
        submitted(settings, {"path": str(video), "pipeline": "people"})
        after = resident_mib(pid)
    rows = [("idle", f"{idle:.0f}"), (f"after {VIDEO}, detect and track", f"{after:.0f}")]
    print_table("a worker with two threads", ("when", "MiB"), rows)
    assert after <= MOST_MIB, f"a worker takes {after:.0f} MiB, {MOST_MIB} are allowed"
