"""Pictures of crops: `crops/NAME.jpg` in a job's folder, one file each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cvpipe.tracks import CropRecord

CROPS_FOLDER: Final = "crops"


def keep_picture(folder: Path, crop: CropRecord, jpeg: bytes) -> None:
    """Put a crop's picture into a folder, which is made; it appears whole, and may be there already."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{crop.file}.{secrets.token_hex(4)}.part"
    try:
        with part.open("wb") as file:
            file.write(jpeg)
            file.flush()
            os.fsync(file.fileno())  # its record will be told of
        part.replace(folder / crop.file)
    finally:
        part.unlink(missing_ok=True)


def remove_others(folder: Path, crops: Iterable[CropRecord]) -> None:
    """Remove what an earlier run has left in a folder of crops: all but the pictures of these."""
    if not folder.is_dir():
        return
    wanted = {crop.file for crop in crops}
    for entry in folder.iterdir():
        if entry.name not in wanted:
            entry.unlink(missing_ok=True)
