"""Which videos a card's decoder is asked for, and why not the others. Without PyAV: the process that asks decides."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from cvpipe.video.index import VideoFacts

Decode = Literal["cpu", "nvdec", "auto"]
"""What decodes videos: the CPU; a card's NVDEC; `auto`: the card's where it works."""

SUITED: Final[Mapping[str, tuple[str, ...]]] = {
    "h264": ("yuv420p", "yuvj420p"),
    "hevc": ("yuv420p", "yuvj420p", "yuv420p10le"),
    "vp8": ("yuv420p",),
    "vp9": ("yuv420p", "yuv420p10le"),
}
"""Pixel formats by codec. The standards of these define every bit of a picture; those of MPEG-1, MPEG-2 and MPEG-4
part 2 leave the last bits of their transform to the decoder, and JPEG's too. AV1 is opened with dav1d, which knows no
card. Not every card knows all of them: https://developer.nvidia.com/video-encode-decode-support-matrix"""

OPEN, COMPLAINT, DIFFERENT, SILENT = range(4)
FAILURES: Final = (
    "the card's decoder can't be opened for it",
    "the card's decoder complained",
    "the card's first picture is not the CPU's",
    "the card's decoder gave no picture",
)
"""Why a reading that had begun on a card went on on the CPU; a decoder process says the place."""

_MAX_REFUSED: Final = 256
_CONTROL: Final = Path("/dev/nvidiactl")
_PASSED_ON: Final = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH")


class CardFailed(Exception):
    """The card's decoder is not to be used for the rest of a reading. place: in `FAILURES`."""

    def __init__(self, place: int, words: str = "") -> None:
        super().__init__(words or FAILURES[place])
        self.place = place


def why_not(facts: VideoFacts) -> str | None:
    """Why a video of these facts is decoded on the CPU; None where a card's decoder may be asked."""
    if facts.codec not in SUITED:
        return facts.codec
    if facts.pixel_format not in SUITED[facts.codec]:
        return f"{facts.codec} of {facts.pixel_format[:32]}"
    if facts.timing == "counted":
        return "frames without times of their own"
    if sum(stream.get("kind") == "video" for stream in facts.streams) > 1:
        return "several video streams"  # FFmpeg would have a place on the card for each
    return None


def no_driver() -> str | None:
    """Why there can be no card here; None where a driver is there."""
    return None if _CONTROL.exists() else f"there is no {_CONTROL}: no NVIDIA card, or no driver in this container"


def card_environment() -> dict[str, str]:
    """What of this process's environment decides which card is meant, and where the driver lies."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "CUDA_CACHE_DISABLE": "1"}  # there is no folder that it may keep kernels in


class Refused:
    """Kinds of video that the card could not open: asking for each chunk again would cost a third of a second."""

    def __init__(self) -> None:
        self._kinds: Counter[tuple[str, str, int, int]] = Counter()

    def note(self, facts: VideoFacts) -> None:
        """The card could not open this one."""
        if len(self._kinds) < _MAX_REFUSED:
            self._kinds[_kind(facts)] += 1

    def __contains__(self, facts: VideoFacts) -> bool:
        """Whether one like it was refused twice: once may be for lack of memory just then."""
        return self._kinds[_kind(facts)] >= 2


def _kind(facts: VideoFacts) -> tuple[str, str, int, int]:
    return facts.codec, facts.pixel_format, facts.width, facts.height
