"""The process that tries one setting: a job like any other, in a folder of its own. Order and answer are JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from cvpipe.errors import CvpipeError


def measured(order: dict[str, Any]) -> dict[str, Any]:
    """Run it. order: models, data, out (folders), video, pipeline, from, to, device, threads, decode, chunk_seconds,
    model.

    Returns frames, fps (without start-up), memory_bytes, canvas [width, height], decoding (frames by decoder).
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
    view = tools.network(order["model"]).input_view(View.of(facts["display_width"], facts["display_height"]))
    seconds = ticks[-1] - ticks[0] if len(ticks) > 1 else job["seconds"]
    return {
        "frames": len(ticks),
        "fps": (len(ticks) - 1 if len(ticks) > 1 else len(ticks)) / max(seconds, 1e-6),
        "memory_bytes": memory,
        "canvas": [view.width, view.height],
        "decoding": job["decoding"],
    }


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
