"""Whole pictures from combed ones, by FFmpeg's bwdif. Runs in decoder processes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from av.filter import Graph

if TYPE_CHECKING:
    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

_MIN_SIDE: Final = 16
"""bwdif takes no pictures with less than four rows of colour."""
_Kind = tuple[int, int, str, int, int]


class Deinterlacer:
    """Makes one picture of each interlaced frame, from the frame itself and the ones before and after it.

    bwdif looks at no others, so its graph may run on from frame to frame, and a picture is the same wherever the
    reading began.
    """

    def __init__(self) -> None:
        self._kind: _Kind | None = None
        self._fed: tuple[VideoFrame | None, VideoFrame | None] = None, None  # the last two that the graph was given

    def whole(self, before: VideoFrame | None, frame: VideoFrame, after: VideoFrame | None) -> VideoFrame:
        """The frame, deinterlaced if it is flagged as interlaced.

        before, after: its neighbours in display order, None where there is none, or none that can be decoded.
        """
        if not frame.interlaced_frame or min(frame.width, frame.height) < _MIN_SIDE:
            return frame
        kind = _kind(frame)
        before = before if before is not None and _kind(before) == kind else None
        after = after if after is not None and _kind(after) == kind else None
        if self._kind != kind or self._fed[0] is not before or self._fed[1] is not frame:
            self._begin(frame, kind)
            if before is not None:
                self._source.push(before)
            self._source.push(frame)
            if before is not None:
                self._sink.pull()
        self._source.push(after)  # None flushes the graph: it is of no more use
        self._fed = frame, after
        return cast("VideoFrame", self._sink.pull())

    def _begin(self, frame: VideoFrame, kind: _Kind) -> None:
        self._kind = kind
        graph = Graph()
        graph.threads = 1
        source: FilterContext = graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:"
            f"colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
        bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=all")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        self._graph, self._source, self._sink = graph, source, sink


def _kind(frame: VideoFrame) -> _Kind:
    return frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)
