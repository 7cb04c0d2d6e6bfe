"""PNG files in plain Python: written for pictures that stages hand out, read for pictures in a request.

Nothing but zlib sees the bytes of somebody else's picture, and never more than it says it has. Source: PNG (Third
Edition), W3C 2025.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """A picture as PNG: uint8, (height, width) grey or (height, width, 3) RGB. The same bytes for the same picture."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"wanted uint8 (height, width) or (height, width, 3), got {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    up = np.empty((height, 1 + rows.shape[1]), np.uint8)
    up[:, 0] = 2  # the filter "up": each byte less the one above
    up[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=up[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if image.ndim == 2 else 2, 0, 0, 0)
    body = zlib.compress(up.tobytes(), 6)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def decode_png(raw: bytes, *, max_pixels: int) -> npt.NDArray[np.uint8]:
    """The picture in a PNG file: uint8, (height, width) grey or (height, width, 3) RGB; transparency is left out.

    Eight bits a channel, without palette and interlacing. Raises: ValueError where it is none of these, or has more
    pixels.
    """
    if not raw.startswith(_SIGNATURE):
        raise ValueError("it is no PNG file")
    body, at, header = b"", len(_SIGNATURE), b""
    while at + 12 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        header = data if kind == b"IHDR" else header
        body += data if kind == b"IDAT" else b""
        at += 12 + length
    if len(header) != 13:
        raise ValueError("it has no header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 8 or colour not in _CHANNELS or interlaced:
        raise ValueError("it must have eight bits a channel, no palette and no interlacing")
    if not 1 <= width * height <= max_pixels:
        raise ValueError(f"it has {width}x{height} pixels; {max_pixels} are the most")
    channels = _CHANNELS[colour]
    stride = 1 + width * channels
    try:
        lines = zlib.decompressobj().decompress(body, height * stride + 1)
    except zlib.error as error:
        raise ValueError(f"its pixels can't be read: {error}") from None
    if len(lines) != height * stride:
        raise ValueError("its pixels do not fit its size")
    pixels = _unfiltered(np.frombuffer(lines, np.uint8).reshape(height, stride), channels)
    pixels = pixels.reshape(height, width, channels)
    return pixels[..., 0] if channels < 3 else np.ascontiguousarray(pixels[..., :3])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _unfiltered(lines: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.uint8]:
    """Rows of bytes from filtered ones; the first byte of each names the filter. step: bytes of a pixel."""
    above = [0] * (lines.shape[1] - 1)
    rows = []
    for kind, *row in lines.tolist():
        if kind > 4:
            raise ValueError(f"it has a row with the filter {kind}")
        if kind:
            for i in range(len(row)):
                left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
                row[i] = (row[i] + _predicted(kind, left, above[i], corner)) % 256
        rows.append(row)
        above = row
    return np.array(rows, np.uint8)


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 1:
        return left
    if kind == 2:
        return up
    if kind == 3:
        return (left + up) // 2
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))  # of equal ones the first, as Paeth wants
