"""Footage: the part of a video that a job looks at, handed to stages that make a file of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cvpipe.frames import Image
from cvpipe.results import FrameRecord


class Footage(Protocol):
    """The part of a video that a job looks at, as earlier steps show it, for a stage that makes a file of it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the displayed source frame in pixels: what boxes in records count in."""
        ...

    def still(self, width: int, height: int) -> Image | None:
        """The first frame that can be read, (height, width, 3) BGR of this size; None where none can be.

        Raises: VideoError.
        """
        ...

    def write_normalised(self, path: Path, *, fps: float, max_side: int | None) -> None:
        """Write a copy at a constant rate (H.264 in MP4), and beside it which source frame each of its frames shows.

        path: `NAME.mp4`; the mapping is `NAME.map.ndjson`. max_side: longest side in pixels at most.
        Raises: VideoError.
        """
        ...

    def records(self) -> Iterator[FrameRecord]:
        """All records of the job, in order."""
        ...
