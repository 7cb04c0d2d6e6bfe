"""Packets and frames of an opened video, with damage as a value rather than an exception. Runs in decoder processes only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av.error

from cvpipe.video.source import Source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def packets(source: Source) -> Iterator[Packet[VideoStream] | None]:
    """The packets from where the container stands to its end, then None: the decoder is to be flushed.

    A file that can't be read any further ends there, as it does for FFmpeg.
    """
    demuxed = source.container.demux(source.stream)
    while True:
        try:
            packet = next(demuxed, None)
        except av.error.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            packet = None
        if packet is None:
            yield None
            return
        if packet.size:
            yield packet


def decode(source: Source, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], str | None]:
    """The frames that the decoder gives back for one packet (None flushes it), and its complaint if it has one."""
    try:
        return source.stream.codec_context.decode(packet), None
    except av.error.EOFError:
        return [], None
    except (av.error.FFmpegError, ValueError, LookupError) as error:
        if isinstance(error, MemoryError):
            raise
        return [], str(getattr(error, "strerror", None) or error)


