"""`python -m benchmarks [NAME ...]`: each prints tables; without a name, all of them. `--help` lists the names."""

from __future__ import annotations

import argparse
import sys

from benchmarks import (
    bench_accept,
    bench_batches,
    bench_engine,
    bench_memory,
    bench_records,
    bench_service,
    bench_stages,
    bench_ultralytics,
    bench_video,
    bench_workers,
)
from benchmarks.setup import assets_folder

PARTS = {
    "engine": bench_engine.main,
    "batches": bench_batches.main,
    "workers": bench_workers.main,
    "memory": bench_memory.main,
    "ultralytics": bench_ultralytics.main,
    "stages": bench_stages.main,
    "service": bench_service.main,
    "accept": bench_accept.main,
    "records": bench_records.main,
    "video": bench_video.main,
}


def main() -> int:
    """Run the parts named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="default: all")
    parser.add_argument("--pairs", type=int, default=3, help="measured pairs of each comparison (default 3)")
    args = parser.parse_args()
    assets = assets_folder()
    if not assets.is_dir():
        print(f"benchmarks need real models and videos; name their folder in CVPIPE_ASSETS (not found: {assets})")
        return 2
    for name in args.parts or PARTS:
        PARTS[name](assets, args.pairs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
