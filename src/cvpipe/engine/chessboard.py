"""The lens of a camera, from a video of a chessboard that is held before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cvpipe.camera import LensSpec
from cvpipe.errors import InvalidRequest
from cvpipe.frames import View

if TYPE_CHECKING:
    from cvpipe.video import Decoders, VideoIndex

_LOOKED_AT: Final = 90
_USED: Final = 40
_FEWEST: Final = 5
_WINDOW: Final = (11, 11)  # pixels about a corner, in which it is found to a fraction of a pixel
_LEAST_COVER: Final = 0.1


@dataclass(frozen=True, slots=True)
class FoundLens:
    """A lens, and how it was found.

    lens: in pixels of pictures of `size`, (width, height). rms_pixels: how far corners lie from where it sees them.
    pictures: in which the board was seen, and which were used.
    """

    lens: LensSpec
    size: tuple[int, int]
    rms_pixels: float
    pictures: int


def find_lens(
    decoders: Decoders,
    video: Path,
    index: VideoIndex,
    cv2: Any,
    *,
    columns: int,
    rows: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> FoundLens:
    """Calibrate a lens by frames spread evenly over a video (Zhang's method, as OpenCV has it).

    columns, rows: inner corners of the chessboard. on_progress: called with the frames looked at and their number.
    Raises: InvalidRequest where the board is not seen often enough; VideoError, DecoderUnavailable.
    """
    facts = index.facts
    size = (facts.display_width, facts.display_height)
    numbers = np.unique(np.linspace(0, len(index) - 1, min(_LOOKED_AT, len(index))).round().astype(np.int64))
    boards = []
    with decoders.read(video, index, numbers, [View.of(*size, format="gray")]) as frames:
        for done, frame in enumerate(frames, 1):
            if frame.images is not None:
                corners = _corners(frame.images[0], columns, rows, cv2)
                frame.release()
                if corners is not None:
                    boards.append(corners)
            on_progress(done, len(numbers))
    if len(boards) < _FEWEST:
        raise InvalidRequest(
            f"a chessboard with {columns} x {rows} inner corners was seen whole on {len(boards)} of {len(numbers)} "
            f"frames, and {_FEWEST} are needed: check the numbers, and hold it still, tilted, all over the picture",
            field="chessboard",
        )
    return _calibrated(boards[:: -(-len(boards) // _USED)], columns, rows, size, cv2)


def _corners(image: Any, columns: int, rows: int, cv2: Any) -> Any:
    """Inner corners in pixels, (n, 1, 2) float32, counted from the middle of the first pixel; None without a board."""
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    is_there, corners = cv2.findChessboardCorners(image, (columns, rows), flags=flags)
    if not is_there:
        return None
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    return cv2.cornerSubPix(image, corners, _WINDOW, (-1, -1), until)


def _calibrated(boards: list[Any], columns: int, rows: int, size: tuple[int, int], cv2: Any) -> FoundLens:
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    board = np.stack([across.ravel(), down.ravel(), np.zeros(columns * rows)], axis=-1).astype(np.float32)
    rms, matrix, bent, _, _, deviations, _, _ = cv2.calibrateCameraExtended(
        [board] * len(boards), boards, size, None, None
    )
    points = np.concatenate(boards).reshape(-1, 2)
    cover = np.prod((points.max(axis=0) - points.min(axis=0)) / size)
    if not np.isfinite(matrix).all() or cover < _LEAST_COVER:
        raise InvalidRequest(
            f"the chessboard was seen in {cover:.0%} of the picture only; hold it all over the picture, and tilted",
            field="chessboard",
        )
    numbers = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
    lens = LensSpec(
        **dict(zip(("fx", "fy", "cx", "cy"), (round(float(value), 3) for value in numbers), strict=True)),
        coefficients=[round(float(value), 6) for value in np.ravel(bent)[:5]],
        deviations=[round(float(value), 6) for value in np.ravel(deviations)[:9]],
    )
    return FoundLens(lens, size, round(float(rms), 4), len(boards))
