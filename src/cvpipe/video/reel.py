"""An opened video that is read forwards, jumps to keyframes, and can be begun anew. Runs in decoder processes only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import av.error

from cvpipe.errors import CvpipeError
from cvpipe.video.decode import Complaint, decode, lost_before, packets
from cvpipe.video.hardware import COMPLAINT, DIFFERENT, OPEN, CardFailed
from cvpipe.video.holes import Holes
from cvpipe.video.limits import Limits
from cvpipe.video.nvdec import Card, is_same, on_cpu
from cvpipe.video.source import Source, is_shown, open_source

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

    def __init__(
        self,
        fd: int,
        limits: Limits,
        *,
        stream: int,
        alive: Callable[[], None],
        card: Card | None = None,
        on_card_failed: Callable[[CardFailed], None] | None = None,
    ) -> None:
        """card: what is to decode it; the CPU does where the card can't, and `on_card_failed` is told why."""
        self._fd, self._limits, self._stream, self._alive = fd, limits, stream, alive
        self._card, self._on_card_failed = card, on_card_failed
        self._expected: tuple[int | None, VideoFrame] | None = None
        self._is_proven = False
        self._open()

    @property
    def is_on_card(self) -> bool:
        """Whether a card decodes."""
        return self._card is not None

    def leave_card(self, failure: CardFailed) -> None:
        """Begin at the start, on the CPU, and stay there."""
        self._card = None
        if self._on_card_failed is not None:
            self._on_card_failed(failure)
        self.renew()

    def _opened(self) -> Source:
        if self._card is not None:
            try:
                return open_source(self._fd, self._limits, stream=self._stream, accel=self._card.accel())
            # Of many kinds: what the driver says comes as what FFmpeg says of files. A file that is wrong is so twice.
            except (CvpipeError, RuntimeError, MemoryError, OSError, ValueError) as error:
                self._card = None
                if self._on_card_failed is not None:
                    self._on_card_failed(CardFailed(OPEN, str(error)))
        return open_source(self._fd, self._limits, stream=self._stream)

    def _open(self) -> None:
        self._source = self._opened()
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
        """The frames for one packet, for None those that are still to come; and the complaint if there is one.

        Raises: CardFailed where a card decodes and something is wrong: what there is to see then, the CPU says.
        """
        self.is_new = False
        if self._card is None:
            return decode(self._source, packet)
        if self.lost is not None:
            raise CardFailed(COMPLAINT, self.lost)
        if not self._is_proven and self._expected is None and packet is not None:
            self._expected = packet.pts, on_cpu(self._source.stream, packet)
        try:
            frames, trouble = decode(self._source, packet)
        except MemoryError as error:
            raise CardFailed(OPEN, "no memory") from error
        if trouble is not None:
            raise CardFailed(COMPLAINT if self._is_proven else OPEN, trouble.words)
        if any(frame.is_corrupt for frame in frames):
            raise CardFailed(COMPLAINT, "the decoder calls a picture corrupt")
        return [self._believed(self._card.picture(frame)) for frame in frames], None

    def _believed(self, frame: VideoFrame) -> VideoFrame:
        """A card's picture; the first is compared with the CPU's. Raises: CardFailed."""
        if self._expected is not None and frame.pts == self._expected[0]:
            if not is_same(frame, self._expected[1]):
                raise CardFailed(DIFFERENT)
            self._expected, self._is_proven = None, True
        return frame
