"""An opened video that is read forwards, jumps to keyframes, and can be begun anew. Runs in decoder processes only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import av.error

from cvpipe.video.decode import Complaint, decode, lost_before, packets
from cvpipe.video.holes import Holes
from cvpipe.video.limits import Limits
from cvpipe.video.source import is_shown, open_source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SKIPS_EXACTLY = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"))
"""Codecs whose decoders, told to, leave out pictures that none is predicted from, and whose other pictures are none
the worse for it. In VP8 and VP9 such a picture may still change probabilities or motion vectors; dav1d has no such
choice once it is opened."""


class Reel:
    """The packets of one stream, and the decoder for them.

    is_new: the decoder has decoded nothing. lost: what told that packets before the last one are missing.
    """

    def __init__(self, fd: int, limits: Limits, *, stream: int, alive: Callable[[], None]) -> None:
        self._fd, self._limits, self._stream, self._alive = fd, limits, stream, alive
        self._open()

    def _open(self) -> None:
        self._source = open_source(self._fd, self._limits, stream=self._stream)
        self._codec = self._source.codec
        self._source.stream.codec_context.copy_opaque = True  # each frame says which packet it came with
        self._following: Iterator[Packet[VideoStream] | None] = packets(self._source)
        self._is_unread = self.is_new = True
        self._is_skipping = False
        self.lost: str | None = None

    def renew(self) -> None:
        """Begin at the start with a decoder that remembers nothing. Flushing keeps the memory of old pictures."""
        self._source.close()
        self._open()

    def to_start(self) -> None:
        """Go to the start of the file."""
        if not self._is_unread:
            self.renew()

    def to_key(self, pts: int, earlier: Sequence[int], *, is_near: bool) -> Packet[VideoStream] | None:
        """Go behind the packet of the keyframe with this pts, and return it; None where it can't be found.

        earlier: pts to seek, the keyframe's own first: a seek may land behind where it should (MPEG-TS).
        is_near: so few packets lie before it that reading them is faster than to seek.
        """
        if not self.is_new:
            self._source.stream.codec_context.flush_buffers()
        if is_near and (found := self._skip_to(pts)) is not None:
            return found
        for target in earlier:
            if self._seek(target) and (found := self._skip_to(pts)) is not None:
                return found
        self.renew()
        return self._skip_to(pts)

    def _seek(self, pts: int) -> bool:
        try:
            self._source.container.seek(pts, stream=self._source.stream)
        except (av.error.FFmpegError, OSError):
            return False
        self._following = packets(self._source)
        return True

    def _skip_to(self, pts: int) -> Packet[VideoStream] | None:
        """The packet of the keyframe with this pts, None where reading has begun behind it."""
        while (packet := self.next()) is not None:
            self._alive()
            if packet.is_keyframe and packet.pts is not None and packet.pts >= pts:
                return packet if packet.pts == pts else None
        return None

    def next(self) -> Packet[VideoStream] | None:
        """The next packet, None at the end."""
        self._is_unread = False
        packet = next(self._following, None)
        self.lost = lost_before()
        return packet

    def put_back(self, packet: Packet[VideoStream]) -> None:
        """Let `next` return the packet once more."""
        self._following = chain((packet,), self._following)

    def is_shown(self, packet: Packet[VideoStream]) -> bool:
        """Does the packet hold a frame to be shown?"""
        return is_shown(packet, self._codec)

    def can_skip(self) -> bool:
        """Can the decoder leave out pictures that no other is predicted from?"""
        return self._codec in _SKIPS_EXACTLY

    def holes(self) -> Holes:
        """What is to remember which pictures of a decoder are wrong."""
        return Holes(self._codec, self._source.stream.codec_context.extradata)

    def skip(self, is_skipping: bool) -> None:
        """Whether to leave out, from now on, pictures that no other is predicted from."""
        if is_skipping != self._is_skipping:
            self._source.stream.codec_context.skip_frame = "NONREF" if is_skipping else "DEFAULT"
            self._is_skipping = is_skipping

    def decode(self, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], Complaint | None]:
        """The frames for one packet, for None those that are still to come; and the complaint if there is one."""
        self.is_new = False
        return decode(self._source, packet)
