"""`deinterlace`: asks the decoder for whole pictures (which tests/video/test_deinterlace.py looks at)."""

from __future__ import annotations

from dataclasses import replace

from cvpipe.frames import View
from cvpipe.stages.deinterlace import Deinterlace, DeinterlaceOptions


def test_the_view_is_deinterlaced_and_else_the_same() -> None:
    view = View.of(720, 576).resized(360, 288)
    done = Deinterlace(DeinterlaceOptions()).reshape(view)
    assert done.deinterlace
    assert replace(done, deinterlace=False) == view
    assert done.resized(100, 100).with_format("gray").cropped(0, 0, 50, 50).deinterlace
