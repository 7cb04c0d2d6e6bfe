"""Open an untrusted video with PyAV: from a descriptor, with allow-lists and limits. Runs in decoder processes only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import av.error

from cvpipe.errors import CodecNotAllowed, FormatNotAllowed, MediaUnreadable, NoVideoStream, TooManyPixels
from cvpipe.video.limits import CODECS, CONTAINERS, DECODERS, Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_FRIENDLY = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska"}


@dataclass(frozen=True, slots=True)
class Source:
    """An opened video: its container and the stream to be decoded."""

    container: InputContainer
    stream: VideoStream

    @property
    def container_name(self) -> str:
        """FFmpeg's name of the container, shortened."""
        name = self.container.format.name
        return _FRIENDLY.get(name, name)

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return codec_name(self.stream)

    def close(self) -> None:
        """Close the container; the descriptor stays open."""
        self.container.close()


def codec_name(stream: VideoStream) -> str:
    """The name of the codec, whichever decoder is used for it (`av1`, not `libdav1d`)."""
    return str(stream.codec.canonical_name)


def open_source(fd: int, limits: Limits, *, stream: int | None = None) -> Source:
    """Open the video at the descriptor `fd`, from its beginning.

    stream: index of the video stream; default: the one marked as default, else the largest.
    Raises: VideoError.
    """
    os.lseek(fd, 0, os.SEEK_SET)  # FFmpeg begins to read where the descriptor is
    options = {
        "fd": str(fd),
        "protocol_whitelist": "fd",
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(DECODERS),
        "max_pixels": str(limits.max_pixels),
        # Guessing the frame rate from 20 frames takes longer than all the rest; we count the frames ourselves.
        "fpsprobesize": "0",
    }
    try:
        container = av.open("fd:", mode="r", options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:
        raise FormatNotAllowed(f"not one of the containers allowed: {', '.join(CONTAINERS)}") from error
    except (av.error.FFmpegError, UnicodeError, LookupError) as error:
        if isinstance(error, MemoryError):
            raise
        raise MediaUnreadable(f"not a video, or damaged: {_words(error)}") from error
    try:
        return Source(container, _pick(container, limits, stream))
    except BaseException:
        container.close()
        raise


def _pick(container: InputContainer, limits: Limits, index: int | None) -> VideoStream:
    # A cover picture is a video stream to FFmpeg.
    found = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if index is not None:
        found = [s for s in found if s.index == index]
    if not found:
        raise NoVideoStream("the file has no video stream")
    # mypy and PyAV disagree on it: a stream that FFmpeg has no decoder for has no codec context.
    usable = [s for s in found if cast(object, s.codec_context) is not None and codec_name(s) in CODECS]
    if not usable:
        names = {"unknown" if cast(object, s.codec_context) is None else codec_name(s) for s in found}
        raise CodecNotAllowed(f"codec {', '.join(sorted(names))} is not one of: {', '.join(sorted(CODECS))}")
    stream = max(usable, key=lambda s: (bool(s.disposition & s.disposition.default), s.width * s.height, -s.index))
    if stream.width * stream.height > limits.max_pixels:
        raise TooManyPixels(f"{stream.width}x{stream.height} is more than {limits.max_pixels} pixels")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = type(other.discard).all
    context = stream.codec_context
    # Many chunks are decoded at once: that is where the cores go. Several threads for one decoder give less for each.
    context.thread_count = 1
    context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def is_shown(packet: Packet[VideoStream], codec: str) -> bool:
    """Does the packet hold a frame to be shown? Edit lists hide some, VP8 has some only to predict from."""
    if packet.is_discard:
        return False
    return codec != "vp8" or bool(memoryview(packet)[0] & 0x10)


def is_damaged(frame: VideoFrame) -> bool:
    """Did the decoder say that the picture can't be right?"""
    return frame.is_corrupt


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
