"""Packets and frames of an opened video, with damage as a value rather than an exception. Runs in decoder processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av.error
import av.logging

from cvpipe.video.source import Source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def listen_for_errors() -> None:
    """Let FFmpeg's error messages be counted, and none be written. Once, before `decode`."""
    av.logging.set_level(av.logging.PANIC)


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
    try:
        frames = source.stream.codec_context.decode(packet)
    except av.error.EOFError:
        return [], None
    except (av.error.FFmpegError, ValueError, LookupError) as error:
        if isinstance(error, MemoryError):
            raise
        return [], str(getattr(error, "strerror", None) or error)
    after, last = av.logging.get_last_error()
    return frames, last[2].strip() if after != before and last else None
