"""Footage: the part of a video that a job looks at, handed to stages that make a file of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image
from cvpipe.results import FrameRecord

Paint = Callable[[Image, int], None]
"""Changes a picture, (height, width, 3) BGR, in place; and the number of its frame."""


class Footage(Protocol):
    """The part of a video that a job looks at, as earlier steps show it, for a stage that makes a file of it."""

    @property
    def part(self) -> range:
        """Numbers of its frames, also of those that were not looked at."""
        ...

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """When each frame of the whole video is shown, in seconds since the first one."""
        ...

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the displayed source frame in pixels: what boxes in records count in."""
        ...

    def records(self) -> Iterator[FrameRecord]:
        """All records of the job, in order."""
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

    def write_painted(
        self, path: Path, numbers: npt.NDArray[np.int64], times: npt.NDArray[np.float64], paint: Paint
    ) -> None:
        """Write frames of the video as it is (H.264 in MP4, no sound), each painted on before.

        numbers: of the frames, ascending, one at least. times: when each is shown, in seconds of the new file. paint:
        called with each frame in order; after a crash from any frame on.
        Raises: VideoError.
        """
        ...

    def write_pictures(self, folder: Path, numbers: npt.NDArray[np.int64]) -> None:
        """Write frames of the video as they are to a folder, as `000130.jpg`; those that are damaged are left out.

        numbers: ascending. Those that are there already are not written again. Raises: VideoError.
        """
        ...
