"""Does a file end before its end? Told by how its container is built. Runs in decoder processes only."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cvpipe.errors import MediaTruncated
from cvpipe.video.decode import told

if TYPE_CHECKING:
    from cvpipe.video.source import Source

_MAX_BOXES: Final = 1_000_000
_TAIL_BYTES: Final = 2**17  # two Ogg pages are shorter
_PROGRAM_END: Final = b"\0\0\1\xb9"
_BOXES: Final = frozenset((b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"pnot", b"uuid"))
TS_SIZES: Final = ((188, 0), (192, 4), (204, 0))
"""Bytes of a transport packet, and where in it the first byte, 0x47, is."""


def is_cut_off(fd: int, container: str) -> bool:
    """Does the file end in the middle of what its container says must follow?

    container: FFmpeg's name, shortened. False where the container has no way to tell.
    """
    size = os.fstat(fd).st_size
    test = _TESTS.get(container)
    return test is not None and size > 0 and test(fd, size)


def truncation(
    fd: int, source: Source, *, read: int, is_broken: bool, frames: int, seconds: float, header: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The warning for a file that is cut off, None for a whole one; what its header claims does not make it one.

    read: packets that were there. is_broken: does the file end within the last one. frames, seconds: what can be seen.
    """
    size = os.fstat(fd).st_size
    entries = source.stream.index_entries
    behind = 0
    if source.container_name == "mp4" and (len(entries) > read or is_broken):
        behind = sum(entry.pos + entry.size > size and not entry.is_discard for entry in entries)
    if not (behind or is_broken or told("ended prematurely") or is_cut_off(fd, source.container_name)):
        return None
    claimed_frames, claimed_seconds = header["frames"], header["duration_seconds"]
    stop = claimed_seconds if claimed_seconds is not None and claimed_seconds > seconds + 0.001 else None
    missing: int | None = None
    if claimed_frames is not None and claimed_frames > frames:
        missing = claimed_frames - frames
    elif behind:
        missing = behind
    elif stop is not None and seconds:
        missing = max(0, round(stop * (header["fps"] or frames / seconds)) - frames) or None
    if missing and frames and (stop is None or source.container_name == "avi"):
        # AVI's duration is guessed by what is there, and so less than its frames take.
        stop = round(seconds * (frames + missing) / frames, 6)
    there = "1 frame" if frames == 1 else f"{frames} frames"
    message = f"the file is cut off: {there} ({seconds:g} s) {'is' if frames == 1 else 'are'} there"
    if missing or stop:
        claims = [*([f"{frames + missing} frames"] if missing else []), *([f"{stop:g} s"] if stop else [])]
        message += f", its header claims {' and '.join(claims)}"
    return {
        "code": MediaTruncated.code,
        "message": f"{message}; send the whole file for the rest",
        "first": frames,
        "frames": missing,
        "start": seconds,
        "stop": stop,
    }


def lacks_its_tables(fd: int) -> bool:
    """Is it an MP4 or QuickTime file without the tables (`moov`) that are written when a recording ends?"""
    size = os.fstat(fd).st_size
    kinds = [kind for kind, _ in _boxes(fd, size)]
    return len(kinds) > 0 and kinds[0] in _BOXES and b"moov" not in kinds


def _boxes(fd: int, size: int) -> Iterator[tuple[bytes, int]]:
    """The kind and the end of each box at the top of the file (ISO/IEC 14496-12, 4.2)."""
    offset = 0
    for _ in range(_MAX_BOXES):
        head = os.pread(fd, 16, offset)
        if len(head) < 8:
            if head:
                yield b"", size + 1
            return
        length, kind = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length == 0:  # up to the end of the file, wherever that is
            yield kind, size
            return
        if length < 8 or not kind.isascii():
            return  # no box: something was written behind the last one
        offset += length
        yield kind, offset
        if offset >= size:
            return


def _mp4(fd: int, size: int) -> bool:
    return any(end > size for kind, end in _boxes(fd, size) if kind in _BOXES or not kind)


def _matroska(fd: int, size: int) -> bool:
    """The length of the segment (RFC 8794, 4 to 6); one written live has none."""
    head = os.pread(fd, 4096, 0)
    _, length, at = _element(head, 0)
    if length is None:
        return False
    kind, length, at = _element(head, at + length)
    return kind == 0x18538067 and length is not None and at + length > size


def _element(data: bytes, at: int) -> tuple[int, int | None, int]:
    """Of an EBML element: its id, the length of its content (None: not known), and where that begins."""
    values: list[int] = []
    for is_length in (False, True):
        first = data[at] if at < len(data) else 0
        width = 9 - first.bit_length()
        value = int.from_bytes(data[at : at + width], "big")
        at += width
        if width > 8 or at > len(data):
            return 0, None, at
        values.append(value & (1 << 7 * width) - 1 if is_length else value)
    return values[0], None if values[1] == (1 << 7 * width) - 1 else values[1], at


def _avi(fd: int, size: int) -> bool:
    """The lengths of the RIFF lists; 0 where the recorder never came to write it."""
    offset = 0
    for _ in range(_MAX_BOXES):
        head = os.pread(fd, 8, offset)
        if len(head) < 8 or head[:4] != b"RIFF":
            return False
        (length,) = struct.unpack_from("<I", head, 4)
        if length == 0 or offset + 8 + length > size:
            return True
        offset += 8 + length + length % 2
    return False


def _flv(fd: int, size: int) -> bool:
    """Each tag is followed by its length (Adobe Flash Video 10.1, annex E.3)."""
    tail = os.pread(fd, 4, size - 4) if size >= 4 else b""
    length = int.from_bytes(tail, "big")
    if len(tail) < 4 or not 11 <= length <= size - 13:
        return True
    tag = os.pread(fd, 11, size - 4 - length)
    return int.from_bytes(tag[1:4], "big") + 11 != length


def _mpegts(fd: int, size: int) -> bool:
    """Whether the last packet is whole; the first one need not be."""
    head = os.pread(fd, 4096, 0)
    for length, sync in TS_SIZES:
        for start in range(min(length, len(head))):
            places = range(start + sync, len(head), length)
            if len(places) > 4 and all(head[place] == 0x47 for place in places):
                return (size - start) % length != 0
    return False


def _mpeg(fd: int, size: int) -> bool:
    """Whether the last pack (ISO/IEC 13818-1, 2.5.3) is whole, going from packet to packet."""
    tail = os.pread(fd, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    at = tail.rfind(b"\0\0\1\xba")
    if at < 0 or at + 14 > len(tail):
        return at >= 0
    at += 14 + (tail[at + 13] & 7) if tail[at + 4] >> 6 == 1 else 12  # MPEG-2, MPEG-1
    while at + 6 <= len(tail):
        if tail[at : at + 4] == _PROGRAM_END:
            return False
        if tail[at : at + 3] != b"\0\0\1":
            return False  # not a packet: nothing can be told
        at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
    return at > len(tail) or (at < len(tail) and tail[at:] != _PROGRAM_END)


def _ogg(fd: int, size: int) -> bool:
    """Whether the last page is whole, and the last of its stream (RFC 3533, 6)."""
    tail = os.pread(fd, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27 or len(tail) < at + 27 + tail[at + 26]:
        return True
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    return len(tail) < at + 27 + len(segments) + sum(segments) or not tail[at + 5] & 4


_TESTS: Final = {
    "mp4": _mp4,
    "matroska": _matroska,
    "avi": _avi,
    "flv": _flv,
    "mpegts": _mpegts,
    "mpeg": _mpeg,
    "ogg": _ogg,
}
