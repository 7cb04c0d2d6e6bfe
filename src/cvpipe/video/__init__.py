"""The only door to PyAV: index, read and write videos.

Importing it imports neither PyAV nor starts anything; `VideoIndex` and `VideoFacts` are plain data that every part may read.
"""

from cvpipe.video.decoders import Decoded, Decoders, Reading
from cvpipe.video.index import VideoFacts, VideoIndex
from cvpipe.video.limits import Limits

__all__ = ["Decoded", "Decoders", "Limits", "Reading", "VideoFacts", "VideoIndex"]
