"""Reading video: speed beside other readers, decimation, three hours, interpolation.

`python -m benchmarks.bench_video reading|skipping|long|scaling` runs one of them.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import video_long, video_reading, video_scaling, video_skipping
from benchmarks.setup import assets_folder

PARTS: dict[str, Callable[[Path, int], None]] = {
    "reading": lambda _, rounds: video_reading.measure(rounds),
    "skipping": video_skipping.measure,
    "long": lambda _, rounds: video_long.measure(rounds),
    "scaling": video_scaling.measure,
}


def main(assets: Path, pairs: int, parts: tuple[str, ...] = tuple(PARTS)) -> None:
    """Print the tables of the parts. Videos and other readers are made and installed once, in `.bench`."""
    if shutil.which("ffmpeg") is None:
        print("the benchmark of video needs the `ffmpeg` program: it makes the videos and is what is compared with")
        return
    for part in parts:
        started = time.monotonic()
        PARTS[part](assets, pairs)
        print(f"video, {part}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(assets_folder(), 3, tuple(sys.argv[1:]) or tuple(PARTS))
