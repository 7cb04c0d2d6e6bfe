"""The only door to PyAV: index, read, look at, cut and write videos.

Importing it does not import PyAV; `VideoIndex` and `VideoFacts` are plain data for every part to read.
"""

from cvpipe.video.decoders import Decoded, Decoders, Reading
from cvpipe.video.index import VideoFacts, VideoIndex
from cvpipe.video.limits import Limits
from cvpipe.video.video import Video, VideoFrame
from cvpipe.video.write import Writer

__all__ = ["Decoded", "Decoders", "Limits", "Reading", "Video", "VideoFacts", "VideoFrame", "VideoIndex", "Writer"]
