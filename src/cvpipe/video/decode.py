"""Packets and frames of an opened video, with damage as a value rather than an exception. Runs in decoder processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av.error
import av.logging

from cvpipe.video.source import Source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


class _Ear(logging.Handler):
    """Hears FFmpeg's error messages and keeps the one that is about the limit of pixels."""

    too_large: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if "max pixel count" in (words := record.getMessage()):
            self.too_large = words.splitlines()[0]


_ear = _Ear()


def listen_for_errors() -> None:
    """Let FFmpeg's error messages be counted, and none be written. Once, before `decode`."""
    logger = logging.getLogger("libav")
    logger.handlers, logger.propagate = [_ear], False
    av.logging.set_level(av.logging.ERROR)


def too_large() -> str | None:
    """What FFmpeg said when it refused a picture of more than `max_pixels`; None where it did not."""
    return _ear.too_large


def packets(source: Source) -> Iterator[Packet[VideoStream] | None]:
    """The packets from where the container stands to its end, then None: the decoder is to be flushed.

    A file that can't be read any further ends there, as it does for FFmpeg.
    """
    demuxed = source.container.demux(source.stream)
    while True:
        try:
            packet = next(demuxed, None)
        except (av.error.FFmpegError, IndexError) as error:
            # IndexError: PyAV wants to flush streams that have appeared since the file was opened.
            if isinstance(error, MemoryError):
                raise
            packet = None
        if packet is None:
            yield None
            return
        if packet.size:
            yield packet


def decode(source: Source, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], str | None]:
    """The frames that the decoder gives back for one packet (None flushes it), and its complaint if it has one.

    Most damage is no error to FFmpeg: it says so in its log, and paints over it what it can guess.
    """
    before, _ = av.logging.get_last_error()
    frames: list[VideoFrame] = []
    raised: str | None = None
    try:
        frames = source.stream.codec_context.decode(packet)
    except av.error.EOFError:
        return [], None
    except (av.error.FFmpegError, ValueError, LookupError) as error:
        if isinstance(error, MemoryError):
            raise
        raised = str(getattr(error, "strerror", None) or error)
    after, _ = av.logging.get_last_error()
    return frames, last_words() if after != before else raised


def last_words() -> str:
    """FFmpeg's last error message, empty where there was none."""
    _, last = av.logging.get_last_error()
    return last[2].strip() if last else ""
