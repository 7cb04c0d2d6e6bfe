"""Maps: pictures that stages hand out of some frames, `NAME-FRAME.png` in a job's folder, one file each."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.errors import StageFailed
from cvpipe.png import encode_png

MAX_MAPS: Final = 1000
"""Files that one job hands out at most."""


def map_name(stage: str, frame: int) -> str:
    """Name of the file of a stage's map of a frame."""
    return f"{stage}-{frame:06d}.png"


def map_png(image: npt.NDArray[np.uint8]) -> bytes:
    """A map, uint8 grey or BGR, as a PNG file."""
    return encode_png(image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1]))


def keep_map(folder: Path, name: str, png: bytes, *, most: int = MAX_MAPS) -> None:
    """Put a map into a folder, which is made; it appears whole, and may be there already: it is the same then.

    Raises: StageFailed where there are `most` already.
    """
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists() and sum(1 for _ in folder.glob("*.png")) >= most:
        raise StageFailed(f"the job hands out more than {most} maps; ask for fewer (a greater `every_seconds`)")
    part = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        part.write_bytes(png)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def maps_in(folder: Path, stages: Sequence[str], *, behind: int = -1) -> list[str]:
    """Names of the maps of stages of these names in a folder, stage by stage, in the order of their frames.

    behind: number of a frame; only of those after it.
    """
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found: list[str] = []
    for stage in stages:
        own = re.compile(re.escape(stage) + r"-(\d{6,})\.png")
        matches = [match for match in map(own.fullmatch, names) if match and int(match[1]) > behind]
        found += [match[0] for match in sorted(matches, key=lambda match: int(match[1]))]
    return found


def remove_maps(folder: Path, names: Iterable[str]) -> None:
    """Remove maps from a folder."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
