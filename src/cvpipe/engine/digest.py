"""The sha256 by which a video is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


def sha256_of(path: Path, *, check: Callable[[], None] | None = None) -> str:
    """Hex sha256 of a file. `check` is called now and then and may raise to stop."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if check is not None:
                check()
    return digest.hexdigest()
