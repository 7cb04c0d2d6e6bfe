"""Which pictures others may be predicted from. Byte strings by hand, after the codecs' specifications."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.video.reference import IS_REFERENCE, are_references, ranking

START = b"\0\0\1"
H264_REFERENCE, H264_OTHER, H264_SEI = b"\x41\x9a", b"\x01\x9a", b"\x06\x05"
TRAIL_N, TRAIL_R, TRAIL_N_LAYER_2, HEVC_IDR = b"\x00\x01", b"\x02\x01", b"\x00\x03", b"\x26\x01"
HEVC_SEI, RESERVED_N = b"\x4e\x01", b"\x1c\x01"


@pytest.mark.parametrize(
    ("codec", "units", "expected"),
    [
        pytest.param("h264", [H264_SEI, H264_REFERENCE], IS_REFERENCE, id="h264 reference"),
        pytest.param("h264", [H264_SEI, H264_OTHER, H264_OTHER], 0, id="h264 no reference"),
        pytest.param("h264", [H264_OTHER, H264_REFERENCE], IS_REFERENCE, id="h264 second field is one"),
        pytest.param("h264", [H264_SEI], IS_REFERENCE, id="h264 without a slice"),
        pytest.param("h264", [], IS_REFERENCE, id="h264 nothing"),
        pytest.param("hevc", [HEVC_SEI, TRAIL_N], 0, id="hevc no reference"),
        pytest.param("hevc", [TRAIL_R], IS_REFERENCE, id="hevc reference"),
        pytest.param("hevc", [HEVC_IDR], IS_REFERENCE, id="hevc keyframe"),
        pytest.param("hevc", [RESERVED_N], 0, id="hevc reserved"),
        pytest.param("hevc", [TRAIL_N_LAYER_2], 2, id="hevc no reference of a layer"),
        pytest.param("hevc", [b"\x00"], IS_REFERENCE, id="hevc cut short"),
    ],
)
def test_nal_units_tell(codec, units, expected):
    with_lengths = bytes([1, *[0] * 3, 0xFF, *[0] * 16, 0xFF, 0])
    assert ranking(codec, None)(b"".join(START + unit for unit in units)) == expected
    assert ranking(codec, with_lengths)(b"".join(len(u).to_bytes(4, "big") + u for u in units)) == expected


@pytest.mark.parametrize(
    ("codec", "data", "expected"),
    [
        pytest.param("mpeg2video", START + b"\x00\x00\x08\xff", IS_REFERENCE, id="mpeg2 I"),
        pytest.param("mpeg2video", START + b"\xb3abcd" + START + b"\x00\x00\x10\xff", IS_REFERENCE, id="mpeg2 P"),
        pytest.param("mpeg2video", START + b"\x00\x00\x18\xff", 0, id="mpeg2 B"),
        pytest.param("mpeg1video", START + b"\x00", IS_REFERENCE, id="mpeg1 cut short"),
        pytest.param("mpeg4", START + b"\xb6\x10", IS_REFERENCE, id="mpeg4 I"),
        pytest.param("mpeg4", START + b"\xb6\x50", IS_REFERENCE, id="mpeg4 P"),
        pytest.param("mpeg4", START + b"\xb6\x90", 0, id="mpeg4 B"),
        pytest.param("mpeg4", START + b"\xb6\x50" + START + b"\xb6\x90", IS_REFERENCE, id="mpeg4 P and B in one"),
    ],
)
def test_picture_headers_tell(codec, data, expected):
    assert ranking(codec, None)(data) == expected


def test_other_codecs_do_not_tell():
    assert ranking("vp9", None) is None


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        pytest.param([8, 0, 8, 0], [True, False, True, False], id="one layer"),
        pytest.param([8, 0, 1, 9], [True, True, False, True], id="a higher layer may use what its own does not"),
        pytest.param([], [], id="no frames"),
    ],
)
def test_references_of_layers(ranks, expected):
    assert are_references(np.array(ranks, np.uint8)).tolist() == expected
