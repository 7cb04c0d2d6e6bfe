"""NAL units of HEVC packets, and what a complaint about one means for the pictures after it."""

from __future__ import annotations

import pytest

from cvpipe.video.holes import is_unreferenced, nal_types

_HVCC = bytes([1, *[0] * 20, 0b11, 0])
"""Lengths of four bytes stand before the units."""


def unit(kind: int, size: int = 5) -> bytes:
    return bytes([kind << 1, 1, *[7] * (size - 2)])


def with_lengths(*units: bytes) -> bytes:
    return b"".join(len(u).to_bytes(4, "big") + u for u in units)


def with_start_codes(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + u for u in units)


@pytest.mark.parametrize(
    ("packet", "extradata", "expected"),
    [
        pytest.param(with_lengths(unit(39), unit(21)), _HVCC, [39, 21], id="lengths"),
        pytest.param(with_start_codes(unit(35), unit(9)), b"\0\0\0\1\x40", [35, 9], id="start-codes"),
        pytest.param(with_start_codes(unit(8)), None, [8], id="no-extradata"),
        pytest.param(with_lengths(unit(1))[:-2], _HVCC, [1], id="cut-off"),
        pytest.param(b"\xff" * 9, _HVCC, [63], id="a-length-beyond-the-end"),
        pytest.param(b"\0\0\1", None, [], id="nothing-after-a-start-code"),
        pytest.param(b"", _HVCC, [], id="empty"),
    ],
)
def test_the_types_of_units_are_found(packet, extradata, expected):
    assert nal_types(packet, extradata) == expected


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        pytest.param([0], True, id="trailing-n"),
        pytest.param([39, 8], True, id="leading-n-after-a-message"),
        pytest.param([1], False, id="trailing-r"),
        pytest.param([0, 1], False, id="both"),
        pytest.param([20], False, id="keyframe"),
        pytest.param([39], False, id="no-picture"),
    ],
)
def test_pictures_that_no_other_is_predicted_from(kinds, expected):
    assert is_unreferenced(with_lengths(*map(unit, kinds)), _HVCC) is expected
