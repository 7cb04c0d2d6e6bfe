"""PNG files as OpenCV writes and reads them."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.png import decode_png, encode_png


def picture(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 1)])
def test_opencv_reads_what_is_written(shape: tuple[int, ...]) -> None:
    image = picture(shape)
    read = cv2.imdecode(np.frombuffer(encode_png(image), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read if read.ndim == 2 else read[..., ::-1], image)
    assert np.array_equal(decode_png(encode_png(image), max_pixels=35), image)


@pytest.mark.parametrize("strategy", range(5), ids=["none", "sub", "up", "average", "paeth"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_filter_that_others_write_is_undone(strategy: int, channels: int) -> None:
    image = cv2.GaussianBlur(picture((12, 9, channels)), (0, 0), 2).reshape(12, 9, channels)
    flag = [cv2.IMWRITE_PNG_FILTER, [8, 16, 32, 64, 128][strategy]]
    _, raw = cv2.imencode(".png", image, flag)
    expected = image[..., 0] if channels == 1 else image[..., 2::-1]
    assert np.array_equal(decode_png(raw.tobytes(), max_pixels=108), expected)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"GIF89a", "no PNG", id="another format"),
        pytest.param(encode_png(picture((4, 4)))[:20], "no header", id="cut in the header"),
        pytest.param(encode_png(picture((4, 4)))[:-35], "can't be read|do not fit", id="cut in the pixels"),
        pytest.param(encode_png(picture((9, 9))), "81 pixels|9x9 pixels; 64 are the most", id="too large"),
    ],
)
def test_what_is_no_such_picture_is_told(raw: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_png(raw, max_pixels=64)


def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    body = zlib.compress(bytes(50_000_000), 9)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    raw = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with pytest.raises(ValueError, match="do not fit its size"):
        decode_png(raw, max_pixels=64)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_end_in_a_picture_or_in_a_clear_error(noise: bytes, at: int) -> None:
    raw = encode_png(picture((6, 6)))
    try:
        image = decode_png(raw[:at] + noise + raw[at + len(noise) :], max_pixels=1000)
    except ValueError:
        return
    assert image.dtype == np.uint8
