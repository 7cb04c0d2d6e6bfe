"""Decoders shared by the tests of a module, and clips made once a run."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cvpipe.video import Decoders, Limits
from tests.video.clips import make_clip, x264

_X265 = "keyint=12:bframes=3:log-level=none:pools=1:frame-threads=1"
_VPX = {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10", "deadline": "realtime", "cpu-used": "8"}

CLIPS: dict[str, dict[str, Any]] = {
    "closed.mp4": {"options": x264()},
    "open.mp4": {"options": x264("open-gop=1")},
    "open.mkv": {"options": x264("open-gop=1")},
    "open.ts": {"options": x264("open-gop=1")},
    "fragments.mp4": {"options": x264("open-gop=1"), "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "one-key.mp4": {"options": x264(g="999", keyint_min="999")},
    "intra-refresh.mp4": {"options": x264("intra-refresh=1", bf="0")},
    "ten-bit.mp4": {"options": x264(), "pixel_format": "yuv420p10le"},
    "b-frames.avi": {"options": x264()},
    "uneven.mp4": {
        "options": x264(),
        "time_base": Fraction(1, 1000),
        "pts": [n * 40 + (n * n * 7) % 31 for n in range(60)],
    },
    "hevc-open.ts": {"codec": "libx265", "options": {"x265-params": f"{_X265}:open-gop=1"}},
    "vp8-hidden.webm": {"codec": "libvpx", "options": _VPX},
    "vp9.webm": {"codec": "libvpx-vp9", "options": _VPX},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
}
"""60 frames of 96x64 each, a keyframe every 12 frames unless the name says otherwise."""


class Clips:
    """Makes the clips of `CLIPS`, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        path = self.folder / name
        return path if path.exists() else make_clip(path, **CLIPS[name])


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """`clips(name)` is the path of a clip of `CLIPS`."""
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(limits=Limits(timeout_seconds=20)) as decoders:
        yield decoders
