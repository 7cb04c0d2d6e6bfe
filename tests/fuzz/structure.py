"""Where the blocks of a video file lie and where their lengths are written: mp4 boxes, EBML elements, RIFF chunks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_BOXES_OF_BOXES = frozenset(b"moov trak mdia minf stbl edts udta moof traf mvex dinf".split())
_ELEMENTS_OF_ELEMENTS = frozenset((0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0xE0, 0x1C53BB6B, 0xBB, 0xA0, 0x114D9B74))


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes `start` to `stop` of a file; `field`, `width`: where its length is written, in how many bytes (0: nowhere).

    big: the most significant byte of the length comes first.
    """

    start: int
    stop: int
    field: int
    width: int
    big: bool = True


def blocks(data: bytes) -> list[Block]:
    """The blocks of a file, outer ones before those inside. Good files only: what is broken ends the search."""
    if data[4:8] == b"ftyp":
        return list(_boxes(data, 0, len(data)))
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return list(_elements(data, 0, len(data)))
    if data[:4] == b"RIFF":
        return list(_chunks(data, 0, len(data)))
    if data[:1] == b"G" and data[188:189] == b"G":
        return [Block(at, at + 188, at + 4, 1) for at in range(0, len(data) - 187, 188)]
    return list(_start_codes(data))


def _boxes(data: bytes, at: int, stop: int) -> Iterator[Block]:
    while at + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + size if size >= 8 else stop
        yield Block(at, min(end, stop), at, 4)
        if kind in _BOXES_OF_BOXES:
            yield from _boxes(data, at + 8, min(end, stop))
        at = end


def _elements(data: bytes, at: int, stop: int) -> Iterator[Block]:
    while at + 2 <= stop and data[at]:
        id_width = 9 - data[at].bit_length()
        kind = int.from_bytes(data[at : at + id_width], "big")
        field = at + id_width
        if field >= stop or not data[field]:
            return
        width = 9 - data[field].bit_length()
        size = int.from_bytes(data[field : field + width], "big") & ((1 << 7 * width) - 1)
        unknown = size == (1 << 7 * width) - 1
        end = stop if unknown else min(field + width + size, stop)
        yield Block(at, end, field, width)
        if kind in _ELEMENTS_OF_ELEMENTS:
            yield from _elements(data, field + width, end)
        at = end


def _chunks(data: bytes, at: int, stop: int) -> Iterator[Block]:
    while at + 8 <= stop:
        kind, size = struct.unpack_from("<4sI", data, at)
        end = min(at + 8 + size + size % 2, stop)
        yield Block(at, end, at + 4, 4, big=False)
        if kind in (b"RIFF", b"LIST"):
            yield from _chunks(data, at + 12, end)
        at = end


def _start_codes(data: bytes) -> Iterator[Block]:
    at = data.find(b"\0\0\1")
    while at >= 0:
        following = data.find(b"\0\0\1", at + 3)
        yield Block(at, following if following >= 0 else len(data), at + 4, 2)
        at = following
