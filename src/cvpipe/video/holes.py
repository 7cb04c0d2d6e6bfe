"""Which pictures are wrong, as parts of them or of what they are predicted from are lost. Runs in decoder processes.

FFmpeg paints over what is lost, and calls only that very picture corrupt. What is predicted from it may be wrong too,
mostly by little. Which pictures those are is not told by their headers, so all are taken to be that may be: those
decoded after a reference that was lost, up to where decoding can begin anew. They are degraded: worth looking at, as
the same decoder, begun at the same place, makes the same of them each time. Only some decoders do: others leave what
memory held before (HEVC), so that their degraded pictures are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cvpipe.video.decode import Complaint, Grade
from cvpipe.video.random_access import nal_length_size, nal_units
from cvpipe.video.reference import IS_REFERENCE, ranking

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_PICTURES = 32
"""NAL units of a smaller type are of pictures."""
_LEADING_AND_TRAILING = 16
"""Of these types, no picture of the same temporal layer is predicted from those of even number."""
_IN_FLIGHT = 64
"""More pictures no decoder holds back."""
_H264_IDR = 5
_HEVC_IDR = (19, 20)

_FLAGGED = frozenset(("h264", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1"))
"""Codecs whose decoders paint over all that is lost, and say so; much else that they complain of harms no pixel."""
_TWO_REFERENCES = frozenset(("mpeg1video", "mpeg2video", "mpeg4"))
"""Codecs whose pictures between a keyframe and the next reference may be predicted from before the keyframe."""


class Wrong(NamedTuple):
    """Why a picture is wrong. is_degraded: only by what it is predicted from, and the same each time."""

    words: str
    is_degraded: bool = False


class Holes:
    """Remembers the losses of one decoder, from where it began.

    codec: FFmpeg's name. extradata: of the stream.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec, self._extradata = codec, extradata
        self._least = Grade.LOSS if codec in _FLAGGED else Grade.SUSPICION
        self._rank = None if codec == "hevc" else ranking(codec, extradata)
        self._lasting: str | None = None
        self._is_healing = False
        self._by_packet: dict[int, Wrong] = {}
        self._times: dict[int, int | None] = {}
        self._told: str | None = None

    def note(
        self,
        packet: Packet[VideoStream] | None,
        complaint: Complaint | None,
        number: int,
        *,
        lost: str | None = None,
    ) -> None:
        """A packet was decoded, with this complaint or none.

        number: the packet's `opaque`. lost: what told that packets before it are missing.
        """
        if packet is None:
            return
        self._times[number] = packet.pts
        self._times.pop(number - _IN_FLIGHT, None)
        said: str | None = None
        is_degraded = False
        if complaint is not None and complaint.grade >= self._least:
            said = complaint.words
        elif packet.is_corrupt:
            # So MPEG-TS calls each packet before a break of its counters, also where whole files were joined.
            said, is_degraded = "a part of its packet may be missing", self._codec in _FLAGGED
        if lost is not None:
            self._lasting, self._is_healing = lost, False
        if said is None and self._lasting is None:
            return
        data = bytes(packet)
        is_reference = self._is_reference(packet, data)
        if said is not None:
            self._by_packet[number], self._told = Wrong(said, is_degraded), said
            if is_reference:
                self._lasting, self._is_healing = said, False
        elif (said := self._still_wrong(packet, data, is_reference=is_reference)) is not None:
            self._by_packet[number], self._told = Wrong(said, self._codec in _FLAGGED), said

    def of(self, frame: VideoFrame) -> Wrong | None:
        """Why a picture is wrong, None where it is not. To be asked once.

        Where a packet gave none, FFmpeg may show the picture of another at its time.
        """
        number = frame.opaque
        if not isinstance(number, int):
            return Wrong(self._told) if self._told else None
        wrong = self._by_packet.pop(number, None)
        if self._told is not None and self._times.pop(number, None) != frame.pts:
            return Wrong(self._told)
        return wrong

    def _is_reference(self, packet: Packet[VideoStream], data: bytes) -> bool:
        if self._codec == "hevc":
            return not is_unreferenced(data, self._extradata)
        return not packet.is_disposable if self._rank is None else bool(self._rank(data) & IS_REFERENCE)

    def _still_wrong(self, packet: Packet[VideoStream], data: bytes, *, is_reference: bool) -> str | None:
        """Why a picture that lost nothing itself is wrong. Forgets the loss where nothing later depends on it."""
        if self._codec in _TWO_REFERENCES:
            if self._is_healing and is_reference:
                self._lasting = None
            elif packet.is_keyframe:
                self._is_healing = True
                return None
        elif self._codec in ("h264", "hevc"):
            if self._is_idr(data):
                self._lasting = None
        elif packet.is_keyframe:
            self._lasting = None
        return self._lasting

    def _is_idr(self, data: bytes) -> bool:
        if self._codec == "hevc":
            return any(kind in _HEVC_IDR for kind in nal_types(data, self._extradata))
        units = nal_units(data, nal_length_size(self._extradata))
        return any(start < stop and data[start] & 0x1F == _H264_IDR for start, stop in units)


def is_unreferenced(packet: bytes, extradata: bytes | None) -> bool:
    """Does an HEVC packet hold only a picture that no other of its temporal layer is predicted from?"""
    kinds = [kind for kind in nal_types(packet, extradata) if kind < _PICTURES]
    return bool(kinds) and all(kind < _LEADING_AND_TRAILING and kind % 2 == 0 for kind in kinds)


def nal_types(packet: bytes, extradata: bytes | None) -> list[int]:
    """The types of the NAL units in an HEVC packet. extradata: begins with 1 where lengths stand before the units."""
    starts = []
    if extradata and len(extradata) > 21 and extradata[0] == 1:
        size, at = (extradata[21] & 3) + 1, 0
        while at + size < len(packet):
            starts.append(at + size)
            at += size + int.from_bytes(packet[at : at + size], "big")
    else:
        at = packet.find(b"\0\0\1")
        while 0 <= at < len(packet) - 3:
            starts.append(at + 3)
            at = packet.find(b"\0\0\1", at + 3)
    return [packet[start] >> 1 & 63 for start in starts]
