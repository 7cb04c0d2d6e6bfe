"""The process that tries one setting: a job like any other, in a folder of its own. Order and answer are JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvpipe.errors import CvpipeError, InvalidRequest


def measured(order: dict[str, Any]) -> dict[str, Any]:
    """Run it. order: models, data, out (folders), video, pipeline, from, to, device, threads, decode, chunk_seconds,
    model.

    Returns frames, fps (without start-up), memory_bytes, canvas [width, height], batch, decoding (frames by decoder).
    Raises: InvalidRequest where there are too few frames to tell a rate.
    """
    from cvpipe.engine import run_local
    from cvpipe.frames import View
    from cvpipe.inference import OnnxTools
    from cvpipe.inference.budget import taken_bytes
    from cvpipe.inference.devices import is_gpu
    from cvpipe.job import TimeRange
    from cvpipe.pipeline import parse_pipeline
    from cvpipe.settings import Settings

    settings = Settings(
        data_dir=Path(order["data"]),
        models_dir=Path(order["models"]),
        device=order["device"],
        threads=order["threads"],
        decode=order["decode"],
    )
    ticks: list[float] = []
    job = run_local(
        Path(order["video"]),
        parse_pipeline(order["pipeline"]),
        Path(order["out"]),
        settings=settings,
        chunk_seconds=order["chunk_seconds"],
        range=TimeRange.model_validate({"from": order["from"], "to": order["to"]}),
        on_progress=lambda _done, _total: ticks.append(time.perf_counter()),
    )
    memory = _most_bytes() + (taken_bytes(order["device"]) if is_gpu(order["device"]) else 0)
    facts = job["video"]
    tools = OnnxTools(settings.models_path, settings.device, data_path=settings.data_dir, threads=order["threads"])
    network = tools.network(order["model"])
    view = network.input_view(View.of(facts["display_width"], facts["display_height"]))
    group = min(network.batch, math.ceil(len(ticks) / job["chunks"]))
    return {
        "frames": len(ticks),
        "fps": rate_of(ticks, first=group * min(order["threads"], job["chunks"])),
        "memory_bytes": memory,
        "canvas": [view.width, view.height],
        "batch": network.batch,
        "decoding": job["decoding"],
    }


def rate_of(ticks: Sequence[float], *, first: int) -> float:
    """Frames a second, once it runs. ticks: when each was ready, in seconds. first: how many were begun at once.

    Batches are ready all at once: to count from the first frame on would give the others of its batch for nothing.
    Raises: InvalidRequest where fewer than a quarter of the frames are left.
    """
    left = len(ticks) - first
    if left < max(1, len(ticks) / 4):
        raise InvalidRequest(
            f"frames: {len(ticks)}, too few to tell how fast it is where {first} begin at once; take a longer part",
            field="--seconds",
        )
    return left / max(ticks[-1] - ticks[first - 1], 1e-6)


def _most_bytes() -> int:
    """The most that this process held, in bytes. What `getrusage` says may be its parent's."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Read the order from standard input, and write the answer to standard output."""
    try:
        answer = measured(json.load(sys.stdin))
    except CvpipeError as error:
        answer = {"error": f"{error.code}: {error.message}"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
