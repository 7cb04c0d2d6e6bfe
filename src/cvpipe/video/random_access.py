"""Can decoding really begin at a packet that its container calls a keyframe? Runs in decoder processes only."""

from __future__ import annotations

from collections.abc import Iterator

_SLICE_IDR = 5
_SEI = 6
_RECOVERY_POINT = 6


def nal_length_size(extradata: bytes | None, codec: str = "h264") -> int:
    """Bytes of the length before each NAL unit; 0 where start codes divide them (ITU-T H.264 and H.265, annex B)."""
    place = 21 if codec == "hevc" else 4
    return (extradata[place] & 3) + 1 if extradata and len(extradata) > place and extradata[0] == 1 else 0


def is_clean_start(data: bytes, length_size: int) -> bool:
    """Is an h264 picture decoded from `data` right, and all that are shown after it?

    True of an IDR picture, and of one with a recovery point of zero frames (an open GOP). Streams with periodic intra
    refresh flag pictures that are whole only some frames later: what is decoded from there is nearly right.
    """
    for start, stop in nal_units(data, length_size):
        kind = data[start] & 0x1F if start < stop else 0
        if kind == _SLICE_IDR:
            return True
        if kind == _SEI and (frames := _recovery_frames(data[start:stop])) is not None:
            return frames == 0
        if 1 <= kind < _SLICE_IDR:
            return False
    return False


def nal_units(data: bytes, length_size: int) -> Iterator[tuple[int, int]]:
    """Where each NAL unit of a packet begins and ends; some are empty. length_size: see `nal_length_size`."""
    return _with_lengths(data, length_size) if length_size else _with_start_codes(data)


def _with_lengths(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    offset = 0
    while offset + size <= len(data):
        start = offset + size
        offset = start + int.from_bytes(data[offset:start], "big")
        yield start, min(offset, len(data))


def _with_start_codes(data: bytes) -> Iterator[tuple[int, int]]:
    offset = data.find(b"\0\0\1")
    while offset >= 0:
        following = data.find(b"\0\0\1", offset + 3)
        yield offset + 3, following if following >= 0 else len(data)
        offset = following


def _recovery_frames(unit: bytes) -> int | None:
    """`recovery_frame_cnt` of an SEI unit, None where it has no recovery point (ITU-T H.264, 7.3.2.3 and D.1.8)."""
    body = unit[1:].replace(b"\0\0\3", b"\0\0")
    offset = 0
    while offset + 2 <= len(body):
        kind, offset = _sum_of_bytes(body, offset)
        length, offset = _sum_of_bytes(body, offset)
        if kind == _RECOVERY_POINT:
            return _exp_golomb(body[offset : offset + max(length, 1)])
        offset += length
    return None


def _sum_of_bytes(body: bytes, offset: int) -> tuple[int, int]:
    total = 0
    while offset < len(body):
        total += body[offset]
        offset += 1
        if body[offset - 1] != 255:
            break
    return total, offset


def _exp_golomb(data: bytes) -> int:
    """The first ue(v) of `data`."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1
