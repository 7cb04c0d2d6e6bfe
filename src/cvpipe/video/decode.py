"""Packets and frames of an opened video, with damage as a value rather than an exception. Runs in decoder processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

import av.error
import av.logging

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from cvpipe.video.source import Source


Telling = Literal["max pixel count", "max_streams", "Picture size", "ended prematurely", "moov atom not found"]
"""Words by which FFmpeg tells what is wrong, where its errors don't."""
_TELLINGS: tuple[Telling, ...] = get_args(Telling)

_SAID_OF_DAMAGE = ("concealing", "Skipping invalid undecodable NALU")


class _Ear(logging.Handler):
    """Hears what FFmpeg says, and keeps count of what tells of damage."""

    complaints = 0
    last_words = ""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[Telling, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        # Where a slice is lost without a trace of error, this is all that is said, and as mere information.
        # So it is where a slice of HEVC is left out: a warning.
        is_complaint = record.levelno >= logging.ERROR or any(said in words for said in _SAID_OF_DAMAGE)
        # To release a picture that it never had is what any decoder is asked that begins at an open group of pictures.
        if is_complaint and not words.startswith("mmco: unref short failure"):
            self.complaints += 1
            self.last_words = words.strip().splitlines()[0] if words.strip() else "?"
            for telling in _TELLINGS:
                if telling in words:
                    self.told[telling] = self.last_words


_ear = _Ear()


def listen_for_errors() -> None:
    """Let FFmpeg's complaints be counted, and nothing be written. Once, before `decode`."""
    logger = logging.getLogger("libav")
    logger.handlers, logger.propagate = [_ear], False
    logger.setLevel(logging.INFO)
    av.logging.set_skip_repeated(False)
    av.logging.set_level(av.logging.INFO)


def last_words() -> str:
    """FFmpeg's last complaint, empty where there was none."""
    return _ear.last_words


def told(telling: Telling) -> str | None:
    """The last complaint in which these words were, None where there was none."""
    return _ear.told.get(telling)


def packets(source: Source) -> Iterator[Packet[VideoStream] | None]:
    """The packets from where the container stands to its end, then None: the decoder is to be flushed.

    A file that can't be read any further ends there, as it does for FFmpeg.
    """
    demuxed = source.container.demux(source.stream)
    while True:
        try:
            packet = next(demuxed, None)
        except (av.error.FFmpegError, IndexError) as error:
            # IndexError: PyAV wants to flush streams that have appeared since the file was opened.
            if isinstance(error, MemoryError):
                raise
            packet = None
        if packet is None:
            yield None
            return
        if packet.size:
            yield packet


def decode(source: Source, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], str | None]:
    """The frames that the decoder gives back for one packet (None flushes it), and its complaint if it has one.

    Most damage is no error to FFmpeg: it says so in its log, and paints over it what it can guess.
    """
    before = _ear.complaints
    frames: list[VideoFrame] = []
    raised: str | None = None
    try:
        frames = source.stream.codec_context.decode(packet)
    except av.error.EOFError:
        return [], None
    except (av.error.FFmpegError, ValueError, LookupError) as error:
        if isinstance(error, MemoryError):
            raise
        raised = str(getattr(error, "strerror", None) or error)
    return frames, _ear.last_words if _ear.complaints != before else raised
