"""Packets of a video into a new MP4 file, as they are. Runs in decoder processes only.

The process can open no file: what it would write, it sends to its parent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import av
import av.error

from cvpipe.errors import MediaUnreadable
from cvpipe.video import wire
from cvpipe.video.decode import packets
from cvpipe.video.limits import Limits
from cvpipe.video.source import Source, is_shown, open_source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream


class _Outlet:
    """A file to be written, to PyAV; messages to the parent, in truth."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._at, self._size = end, 0, 0

    def write(self, data: bytes) -> int:
        body = memoryview(data)
        for offset in range(0, len(body), wire.WRITE_BYTES):
            piece = body[offset : offset + wire.WRITE_BYTES]
            self._end.send(wire.write_message.pack(wire.WRITE, self._at) + piece)
            self._at += len(piece)
        self._size = max(self._size, self._at)
        return len(body)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at


def copy(end: socket.socket, video: int, limits: Limits, order: dict[str, Any], alive: Callable[[], None]) -> None:
    """Send the packets of the frames first_pts <= pts < stop_pts as an MP4 file, where nothing else is needed of them.

    Raises: VideoError, also where what is wanted can't be had without decoding.
    """
    first, stop, count = order["first_pts"], order["stop_pts"], order["frames"]
    source = open_source(video, limits, stream=order["stream"])
    following = _from_keyframe(source, first, alive)
    if following is None:
        source.close()
        source = open_source(video, limits, stream=order["stream"])
        following = _from_keyframe(source, first, alive, seek=False)
    if following is None:
        raise MediaUnreadable("the clip begins at no keyframe")
    options = {"moov_size": str(order["table_bytes"])}
    try:
        with av.open(_Outlet(end), "w", format="mp4", options=options) as output:
            stream = output.add_stream_from_template(source.stream)
            for packet in _only(following, source.codec, first, stop, count):
                alive()
                packet.pts = (packet.pts or 0) - first
                packet.dts = packet.dts if packet.dts is None else packet.dts - first
                packet.stream = stream
                output.mux_one(packet)
    finally:
        source.close()


def _from_keyframe(
    source: Source, pts: int, alive: Callable[[], None], *, seek: bool = True
) -> Iterator[Packet[VideoStream] | None] | None:
    """The packets from the keyframe with this pts, None where it does not come."""
    if seek:
        try:
            source.container.seek(pts, stream=source.stream)
        except (av.error.FFmpegError, OSError):
            return None
    following = packets(source)
    for packet in following:
        alive()
        if packet is None or (seek and packet.is_keyframe and packet.pts is not None and packet.pts > pts):
            return None
        if packet.is_keyframe and packet.pts == pts:
            return _with_first(packet, following)
    return None


def _with_first(
    first: Packet[VideoStream], following: Iterator[Packet[VideoStream] | None]
) -> Iterator[Packet[VideoStream] | None]:
    yield first
    yield from following


def _only(
    following: Iterator[Packet[VideoStream] | None], codec: str, first: int, stop: int, count: int
) -> Iterator[Packet[VideoStream]]:
    """The next `count` packets. Raises: MediaUnreadable unless these, in the file's order, are the frames wanted.

    A frame is predicted from packets before its own, so that nothing is missing where there are no others between.
    """
    for _ in range(count):
        packet = next(following, None)
        if packet is None or packet.pts is None or not first <= packet.pts < stop or not is_shown(packet, codec):
            raise MediaUnreadable("other frames lie between those of the clip, or are needed for them")
        if packet.has_sidedata("new_extradata"):
            raise MediaUnreadable("the kind of the pictures changes within the clip")
        yield packet
