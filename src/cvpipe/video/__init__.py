"""The only door to PyAV: index, read, look at, cut and write videos.

Importing it does not import PyAV; `VideoIndex` and `VideoFacts` are plain data for every part to read. What is named in
`__all__` is imported when first used: the fork-server starts with the modules that decoders need and no others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cvpipe.video.decoders import Decoded, Decoders, Reading
    from cvpipe.video.index import VideoFacts, VideoIndex
    from cvpipe.video.limits import Limits
    from cvpipe.video.video import Video, VideoFrame
    from cvpipe.video.write import Writer

__all__ = ["Decoded", "Decoders", "Limits", "Reading", "Video", "VideoFacts", "VideoFrame", "VideoIndex", "Writer"]

_HOME: Final = {
    "Decoded": "decoders",
    "Decoders": "decoders",
    "Limits": "limits",
    "Reading": "decoders",
    "Video": "video",
    "VideoFacts": "index",
    "VideoFrame": "video",
    "VideoIndex": "index",
    "Writer": "write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cvpipe.video' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"cvpipe.video.{_HOME[name]}"), name)
    return value
