"""Is a stream of an MPEG transport stream scrambled, as pay television is? Runs in decoder processes only."""

from __future__ import annotations

import os
from typing import Final

from cvpipe.video.ending import TS_SIZES

_LOOKED_AT_BYTES: Final = 4 * 2**20
_FEW: Final = 5
"""So many bytes of sync in a row are no accident."""


def is_scrambled(fd: int, pid: int) -> bool:
    """Are most packets of this stream scrambled, of those at the beginning of the file?

    pid: the stream's number in the file. Told by `transport_scrambling_control`, two bits of each packet's fourth byte
    (ISO/IEC 13818-1, 2.4.3.2).
    """
    head = os.pread(fd, _LOOKED_AT_BYTES, 0)
    for length, sync in TS_SIZES:
        for start in range(sync, min(length + sync, len(head))):
            places = range(start, len(head) - 3, length)
            if len(places) >= _FEW and all(head[place] == 0x47 for place in places[:_FEW]):
                own = [p for p in places if (head[p + 1] & 0x1F) << 8 | head[p + 2] == pid and head[p + 3] & 0x10]
                return sum(head[place + 3] >> 6 != 0 for place in own) * 2 > len(own)
    return False
