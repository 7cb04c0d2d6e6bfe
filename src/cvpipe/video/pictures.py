"""Single frames of a video as the bytes of a JPEG or PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from cvpipe.errors import ExtraMissing, InvalidRequest, NotFound
from cvpipe.frames import Image, View
from cvpipe.video.decoders import Decoders
from cvpipe.video.index import VideoIndex
from cvpipe.video.video import Video

PictureFormat = Literal["jpg", "png"]

MAX_WIDTH: Final = 8192
"""Of a picture that is made, in pixels."""

_THUMBNAIL_AT: Final = 0.1
"""Of the video's length: many begin with black."""


def render_picture(
    decoders: Decoders,
    path: Path,
    index: VideoIndex,
    number: int,
    *,
    width: int | None = None,
    format: PictureFormat = "jpg",
    quality: int = 90,
) -> bytes:
    """A frame as it is shown, as a file. A PNG of the full size holds the reader's RGB, bit for bit.

    number: may count from the end (-1). width: in pixels; the height follows, and nothing is enlarged. quality: of a
    JPEG, 1 to 100.
    Raises: NotFound where there is no such frame; FrameDamaged where it can't be decoded; VideoError.
    """
    video = Video(path, decoders=decoders, index=index)
    frame = video.get_frame_at(number, view=narrowed(video.view, width))
    return encode_picture(frame.image, format=format, quality=quality)


def render_thumbnail(decoders: Decoders, path: Path, index: VideoIndex, *, width: int = 320) -> bytes:
    """A small JPEG that stands for the video: a frame near its beginning that can be decoded.

    Raises: NotFound where there is none; VideoError.
    """
    video = Video(path, decoders=decoders, index=index)
    near = int(len(video) * _THUMBNAIL_AT)
    for number in dict.fromkeys((near, 0, len(video) // 2, len(video) - 1)):
        frame = video.get_frame_at(number, view=narrowed(video.view, width))
        if frame.error is None:
            return encode_picture(frame.image, format="jpg")
    raise NotFound("no frame of the video can be decoded that could stand for it")


def encode_picture(image: Image, *, format: PictureFormat, quality: int = 90) -> bytes:
    """uint8 (height, width, 3) RGB, or (height, width), as the bytes of a file. Raises: ExtraMissing."""
    cv2 = open_cv2()
    if image.ndim == 3:
        image = image[:, :, ::-1]
    # PNG's level 1 is a little larger than its level 9, and several times as fast.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if format == "png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, encoded = cv2.imencode(f".{format}", image, options)
    if not done:
        raise InvalidRequest(f"a picture of {image.shape[1]}x{image.shape[0]} pixels can't be a {format} file")
    return bytes(encoded)


def open_cv2() -> Any:
    """OpenCV. Raises: ExtraMissing."""
    try:
        import cv2
    except ImportError as error:
        raise ExtraMissing("making pictures needs OpenCV: install cvpipe[cpu] or cvpipe[gpu]") from error
    return cv2


def narrowed(view: View, width: int | None) -> View:
    """The view, at most `width` pixels wide, with its aspect ratio. Raises: InvalidRequest."""
    if width is None:
        return view
    if not 1 <= width <= MAX_WIDTH:
        raise InvalidRequest(f"must be from 1 to {MAX_WIDTH} pixels, not {width}", field="width")
    if width >= view.width:
        return view
    return view.resized(width, max(1, round(view.height * width / view.width)), mode="stretch")
