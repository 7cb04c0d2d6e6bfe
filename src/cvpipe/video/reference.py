"""Which pictures may others be predicted from? Told from the packets' own headers. Runs in decoder processes only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.video.random_access import nal_length_size, nal_units

IS_REFERENCE: Final = 8
"""The bit of a rank that says that pictures of the same layer may be predicted from it."""

Rank = Callable[[bytes], int]
"""Of a packet: `IS_REFERENCE` or not, plus its temporal layer, 0 to 7."""


def ranking(codec: str, extradata: bytes | None) -> Rank | None:
    """How to tell a packet's rank; None where its headers don't tell (then only its container may)."""
    if codec == "h264":
        length_size = nal_length_size(extradata)
        return lambda data: _h264(data, length_size)
    if codec == "hevc":
        length_size = nal_length_size(extradata, "hevc")
        return lambda data: _hevc(data, length_size)
    return {"mpeg1video": _mpeg2, "mpeg2video": _mpeg2, "mpeg4": _mpeg4}.get(codec)


def are_references(ranks: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(n,) bool, from the ranks of all frames: whether any other may be predicted from each.

    What is no reference within its temporal layer may still be one for a higher layer.
    """
    layers = ranks & 7
    return (ranks & IS_REFERENCE != 0) | (layers < layers.max(initial=0))


def _h264(data: bytes, length_size: int) -> int:
    """nal_ref_idc of the slices (ITU-T H.264, 7.4.1). A frame of two fields is one if either field is."""
    rank = IS_REFERENCE
    for start, stop in nal_units(data, length_size):
        head = data[start] if start < stop else 0
        if 1 <= head & 0x1F <= 5:
            if head & 0x60:
                return IS_REFERENCE
            rank = 0
    return rank


def _hevc(data: bytes, length_size: int) -> int:
    """Type and temporal layer of the first slice (ITU-T H.265, 7.4.2.2): even types below 16 are no references."""
    for start, stop in nal_units(data, length_size):
        if stop - start < 2:
            continue
        kind, layer = data[start] >> 1 & 0x3F, max(0, (data[start + 1] & 7) - 1)
        if kind < 32:
            return layer + (0 if kind < 16 and kind % 2 == 0 else IS_REFERENCE)
    return IS_REFERENCE


def _mpeg2(data: bytes) -> int:
    """picture_coding_type (ISO/IEC 13818-2, 6.3.9): 3 is a B-picture."""
    at = data.find(b"\0\0\1\0")
    return 0 if 0 <= at < len(data) - 5 and data[at + 5] >> 3 & 7 == 3 else IS_REFERENCE


def _mpeg4(data: bytes) -> int:
    """vop_coding_type (ISO/IEC 14496-2, 6.3.5): 2 is a B-VOP. Of packets with two, the first is none."""
    at = data.find(b"\0\0\1\xb6")
    return 0 if 0 <= at < len(data) - 4 and data[at + 4] >> 6 == 2 else IS_REFERENCE
