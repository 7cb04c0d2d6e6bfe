"""A contact sheet: a video at a glance, as evenly spaced frames with their times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from cvpipe.errors import InvalidRequest
from cvpipe.frames import Image
from cvpipe.video.decoders import Decoders
from cvpipe.video.index import VideoIndex
from cvpipe.video.lettering import Lettering
from cvpipe.video.pictures import MAX_WIDTH, PictureFormat, encode_picture, open_cv2
from cvpipe.video.video import Video, VideoFrame

MAX_COLUMNS: Final = 20
MAX_ROWS: Final = 50
_GAP: Final = 4
_GROUND: Final = (24, 24, 24)
_NO_PICTURE: Final = (60, 30, 30)
_MIN_CELL: Final = 32
_MAX_PIXELS: Final = 64_000_000


def render_sheet(
    decoders: Decoders,
    path: Path,
    index: VideoIndex,
    *,
    columns: int = 6,
    rows: int = 4,
    width: int = 1920,
    format: PictureFormat = "jpg",
    on_damaged: Callable[[int], None] = lambda _number: None,
) -> bytes:
    """A sheet of columns x rows frames, read line by line, as the bytes of a file.

    The video's length is cut into as many equal spans as there are places; each place shows the frame in the middle of
    its span. A video of fewer frames has a smaller sheet. Frames keep their aspect ratio.
    width: of the sheet, in pixels. on_damaged: called with the number of each damaged frame, whose place is dark red.
    Raises: InvalidRequest, VideoError.
    """
    _check(columns, rows, width)
    video = Video(path, decoders=decoders, index=index)
    numbers = sheet_numbers(index, columns * rows)
    columns = min(columns, len(numbers))
    rows = -(-len(numbers) // columns)
    cell = (width - _GAP * (columns + 1)) // columns
    view = video.view.resized(cell, max(1, round(video.view.height * cell / video.view.width)), mode="stretch")
    line = view.height + _GAP
    if (rows * line + _GAP) * width > _MAX_PIXELS:
        raise InvalidRequest(f"the sheet would be {width}x{rows * line + _GAP} pixels; ask for a smaller `width`")
    sheet = np.full((rows * line + _GAP, width, 3), _GROUND, np.uint8)
    cv2 = open_cv2()
    letters = Lettering(cv2, size=max(8, min(24, cell // 16)))
    for place, frame in enumerate(video.get_frames_at(numbers, view=view)):
        if frame.error is not None:
            on_damaged(frame.number)
        row, column = divmod(place, columns)
        top, left = _GAP + row * line, _GAP + column * (cell + _GAP)
        sheet[top : top + view.height, left : left + cell] = _labelled(frame, letters)
    return encode_picture(sheet, format=format)


def sheet_numbers(index: VideoIndex, places: int) -> list[int]:
    """Numbers of the frames for a sheet with so many places; no frame twice."""
    if places >= len(index):
        return list(range(len(index)))
    # As exact as the index has times: a frame that begins at 0.4 s is shown then, not at 0.39999999 s.
    middles = ((np.arange(places) + 0.5) * index.facts.duration_seconds / places).round(6)
    shown = np.searchsorted(index.times, middles, side="right") - 1
    return np.unique(np.clip(shown, 0, len(index) - 1)).tolist()


def _labelled(frame: VideoFrame, letters: Lettering) -> Image:
    """The frame's picture, RGB, with its time in the lower left corner."""
    image = frame.image.copy() if frame.error is None else np.full(frame.view.shape, _NO_PICTURE, np.uint8)
    text = clock(frame.time)
    width, height = letters.chip_size(text)
    height, width = min(height, image.shape[0]), min(width, image.shape[1])
    corner = image[-height:, :width]
    corner[:] = corner // 4
    letters.write(image, text, 0, image.shape[0] - height, (255, 255, 255))
    return image


def clock(seconds: float) -> str:
    """`1:02:03.4`; hours only where there are some."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36_000, tenths // 600 % 60, tenths % 600
    begin = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{begin}:{rest // 10:02d}.{rest % 10}"


def _check(columns: int, rows: int, width: int) -> None:
    for name, value, most in (("columns", columns, MAX_COLUMNS), ("rows", rows, MAX_ROWS), ("width", width, MAX_WIDTH)):
        if not 1 <= value <= most:
            raise InvalidRequest(f"must be from 1 to {most}, not {value}", field=name)
    if width < columns * (_MIN_CELL + _GAP) + _GAP:
        least = columns * (_MIN_CELL + _GAP) + _GAP
        raise InvalidRequest(f"must be at least {least} pixels for {columns} columns, not {width}", field="width")
