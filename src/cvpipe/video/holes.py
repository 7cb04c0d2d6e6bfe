"""Which pictures have holes: FFmpeg's HEVC decoder paints over no damage. Runs in decoder processes only.

What a picture lacks is what its memory held before, and that depends on who still holds which picture. So a damaged
picture and, if others may be predicted from it, all that are decoded after it are no pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_PICTURES = 32
"""NAL units of a smaller type are of pictures."""
_LEADING_AND_TRAILING = 16
"""Of these types, no picture of the same temporal layer is predicted from those of even number."""


class Holes:
    """Remembers the complaints of one decoder, from where it began.

    codec: others than hevc paint over damage, and nothing is remembered of them. extradata: of the stream.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._is_hevc, self._extradata = codec == "hevc", extradata
        self._lasting: str | None = None
        self._by_pts: dict[int, str] = {}

    def note(self, packet: Packet[VideoStream] | None, complaint: str | None) -> None:
        """A packet was decoded, with this complaint or none."""
        if not self._is_hevc or packet is None or packet.pts is None:
            return
        if complaint is not None and not is_unreferenced(bytes(packet), self._extradata):
            self._lasting = complaint
        if (said := self._lasting or complaint) is not None:
            self._by_pts[packet.pts] = said

    def of(self, pts: int | None) -> str | None:
        """What was said when the picture with this pts got holes, None where it has none. To be asked once."""
        return None if pts is None else self._by_pts.pop(pts, None)


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
