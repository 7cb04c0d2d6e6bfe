"""`frames.ndjson`: one frame record a line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cvpipe.results import FrameRecord


def write_ndjson(path: Path, records: Iterable[FrameRecord]) -> int:
    """Write records to `path`, which appears only when complete. Returns their number."""
    part = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with part.open("w", encoding="utf-8") as file:
            for record in records:
                file.write(record.to_json() + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count
