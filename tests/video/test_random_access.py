"""Which h264 pictures decoding can begin at. Byte strings by hand, after ITU-T H.264 annex B and D."""

from __future__ import annotations

import pytest

from cvpipe.video.random_access import is_clean_start, nal_length_size

AUD, SPS, PPS = b"\x09\xf0", b"\x67\x64\x00\x0a", b"\x68\xee"
IDR, SLICE = b"\x65\x88\x80", b"\x41\x9a\x00"
RECOVERY_0 = b"\x06\x06\x01\xc4\x80"  # ue(v) 0
RECOVERY_4 = b"\x06\x06\x01\x2c\x80"  # ue(v) 4: 00101
USER_DATA = b"\x06\x05\x03abc\x80"
BOTH = b"\x06\x05\x03abc\x06\x01\xc4\x80"
LONG_USER_DATA = b"\x06\x05\xff\x02" + b"x" * 257 + b"\x06\x01\x2c\x80"


def annex_b(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


def with_lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        pytest.param([SPS, PPS, IDR], True, id="idr"),
        pytest.param([AUD, USER_DATA, RECOVERY_0, SLICE], True, id="recovery point at once"),
        pytest.param([AUD, RECOVERY_4, SLICE], False, id="recovery point four frames on"),
        pytest.param([BOTH, SLICE], True, id="second message of an sei"),
        pytest.param([LONG_USER_DATA, SLICE], False, id="behind a long message"),
        pytest.param([USER_DATA, SLICE], False, id="no recovery point"),
        pytest.param([SLICE], False, id="slice"),
        pytest.param([b"", IDR], True, id="empty unit"),
        pytest.param([], False, id="nothing"),
        pytest.param([b"\x06"], False, id="sei cut short"),
    ],
)
def test_clean_starts(units, expected):
    assert is_clean_start(annex_b(*units), 0) is expected
    assert is_clean_start(with_lengths(*units), 4) is expected


def test_a_length_beyond_the_end_is_no_start():
    assert is_clean_start(b"\xff\xff\xff\xff\x41", 4) is False


@pytest.mark.parametrize(
    ("extradata", "size"),
    [
        pytest.param(b"\x01\x64\x00\x0a\xff\xe1", 4, id="avcc"),
        pytest.param(b"\x01\x64\x00\x0a\xfd\xe1", 2, id="avcc with short lengths"),
        pytest.param(b"\0\0\0\1\x67\x64", 0, id="annex b"),
        pytest.param(None, 0, id="none"),
    ],
)
def test_the_size_of_lengths_is_in_the_extradata(extradata, size):
    assert nal_length_size(extradata) == size
