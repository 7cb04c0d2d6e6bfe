"""Open an untrusted video with PyAV: from a descriptor, with allow-lists and limits. Runs in decoder processes only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import av.error

from cvpipe.errors import (
    BadDimensions,
    CodecNotAllowed,
    FormatNotAllowed,
    MediaTruncated,
    MediaUnreadable,
    NoVideoStream,
    TooManyPixels,
    TooManyStreams,
)
from cvpipe.video.decode import told
from cvpipe.video.ending import lacks_its_tables
from cvpipe.video.limits import CODECS, CONTAINERS, DECODERS, Limits

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel
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


def open_source(fd: int, limits: Limits, *, stream: int | None = None, accel: HWAccel | None = None) -> Source:
    """Open the video at the descriptor `fd`, from its beginning.

    stream: index of the video stream; default: the one marked as default, else the largest, and never a cover picture.
    accel: the card that is to decode it; what it can't do is an error of many kinds.
    Raises: VideoError.
    """
    os.lseek(fd, 0, os.SEEK_SET)  # FFmpeg begins to read where the descriptor is
    options = {
        "fd": str(fd),
        "protocol_whitelist": "fd",
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(DECODERS),
        "max_pixels": str(limits.max_pixels),
        "max_streams": str(limits.max_streams),
        # Guessing the frame rate from 20 frames takes longer than all the rest; we count the frames ourselves.
        "fpsprobesize": "0",
    }
    try:
        container = av.open("fd:", mode="r", options=options, metadata_errors="replace", hwaccel=accel)
    except av.error.ArgumentError as error:
        raise FormatNotAllowed(
            f"the video's container is none of those allowed, which are {', '.join(CONTAINERS)}; convert it to MP4 "
            "or Matroska"
        ) from error
    except (av.error.FFmpegError, UnicodeError, LookupError) as error:
        if told("max_streams"):
            raise _too_many_streams(limits) from error
        if isinstance(error, MemoryError):
            raise
        if told("moov atom not found") and lacks_its_tables(fd):
            raise MediaTruncated(
                "the file has no tables (moov), which are written when a recording ends: it was cut off, or is still "
                "being written; send the whole file, or rebuild its tables with a tool that repairs MP4"
            ) from error
        raise MediaUnreadable(f"the file is not a video, or damaged beyond reading ({_words(error)})") from error
    try:
        # Of streams that come to light later than at opening, FFmpeg only says that there are too many.
        if told("max_streams") or len(container.streams) > limits.max_streams:
            raise _too_many_streams(limits)
        return Source(container, _pick(container, limits, stream))
    except BaseException:
        container.close()
        raise


def _too_many_streams(limits: Limits) -> TooManyStreams:
    return TooManyStreams(f"the file has more than {limits.max_streams} streams; keep only those that are needed")


def _pick(container: InputContainer, limits: Limits, index: int | None) -> VideoStream:
    # A cover picture is a video stream to FFmpeg.
    found = [s for s in container.streams.video if index is not None or not s.disposition & s.disposition.attached_pic]
    numbers = ", ".join(str(s.index) for s in found)
    if index is not None:
        found = [s for s in found if s.index == index]
    if not found:
        raise NoVideoStream(
            f"the file has no video stream {index}; its video streams are: {numbers}"
            if numbers
            else "the file has no video stream; was the right file sent?"
        )
    # mypy and PyAV disagree on it: a stream that FFmpeg has no decoder for has no codec context.
    usable = [s for s in found if cast(object, s.codec_context) is not None and codec_name(s) in CODECS]
    if not usable:
        names = {"unknown" if cast(object, s.codec_context) is None else codec_name(s) for s in found}
        raise CodecNotAllowed(
            f"the video's codec is {' or '.join(sorted(names))}, which is none of those allowed: "
            f"{', '.join(sorted(CODECS))}; encode it anew, say as H.264"
        )
    stream = max(usable, key=lambda s: (bool(s.disposition & s.disposition.default), s.width * s.height, -s.index))
    if stream.width and stream.height:  # what the header does not say, the first frame will
        check_size(stream.width, stream.height, limits)
    for other in container.streams:
        if other.index != stream.index:
            other.discard = type(other.discard).all
    context = stream.codec_context
    # Many chunks are decoded at once: that is where the cores go. Several threads for one decoder give less for each.
    context.thread_count = 1
    context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises: BadDimensions, TooManyPixels for pictures that are not to be decoded."""
    if min(width, height) < 1:
        raise BadDimensions(f"the video's pictures are {width}x{height} pixels: there is nothing to be seen")
    if max(width, height) > limits.max_side:
        raise BadDimensions(
            f"the video's pictures are {width}x{height} pixels; a side may have {limits.max_side}: make it smaller"
        )
    if width * height > limits.max_pixels:
        raise TooManyPixels(
            f"the video's size of {width}x{height} is more than {limits.max_pixels} pixels; make it smaller, or have "
            "CVPIPE_MAX_PIXELS raised"
        )


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
