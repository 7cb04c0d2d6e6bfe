"""Packets and frames of an opened video, with damage as a value rather than an exception. Runs in decoder processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

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

_SAID_OF_LOSS = ("concealing", "Skipping invalid undecodable NALU", "invalid as first byte of an EBML number")
_SAID_OF_NO_PIXEL = ("unable to decode APP fields", "overread", "SEI type")
"""What cameras write beside their pictures may be wrong, or a picture's last bytes missing: the picture is whole."""


_BREAK_LAST = ("mp4", "avi", "flv")
"""Containers whose last packet FFmpeg calls corrupt only where the file ends within it."""


class Grade(IntEnum):
    """How much a complaint means."""

    REMARK = 0
    """No pixel is wrong for it."""
    SUSPICION = 1
    """Something was not as it should be."""
    LOSS = 2
    """A picture, or a part of one, was not decoded: there is none, or it was painted over."""


class Complaint(NamedTuple):
    """What FFmpeg said of one packet: the last words, and the gravest of all."""

    words: str
    grade: Grade


class _Ear(logging.Handler):
    """Hears what FFmpeg says, and keeps count of what tells of damage."""

    complaints = 0
    gravest = Grade.REMARK
    last_words = ""
    reading: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[Telling, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        # Where a slice is lost without a trace of error, this is all that is said, and as mere information.
        # So it is where a slice of HEVC is left out: a warning.
        is_complaint = record.levelno >= logging.ERROR or any(said in words for said in _SAID_OF_LOSS)
        # To release a picture that it never had is what any decoder is asked that begins at an open group of pictures.
        if is_complaint and not words.startswith("mmco: unref short failure"):
            self.complaints += 1
            self.last_words = words.strip().splitlines()[0] if words.strip() else "?"
            if any(said in words for said in _SAID_OF_LOSS):
                self.gravest = Grade.LOSS
            elif not any(said in words for said in _SAID_OF_NO_PIXEL):
                self.gravest = max(self.gravest, Grade.SUSPICION)
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


def complaints() -> int:
    """How often FFmpeg has complained so far."""
    return _ear.complaints


def told(telling: Telling) -> str | None:
    """The last complaint in which these words were, None where there was none."""
    return _ear.told.get(telling)


def lost_before() -> str | None:
    """What told of a loss in the file before the packet that was read last, None where nothing did."""
    return _ear.reading


def packets(source: Source, *, halves: bool = False) -> Iterator[Packet[VideoStream] | None]:
    """The packets from where the container stands to its end, then None: the decoder is to be flushed.

    A file that can't be read any further ends there, as it does for FFmpeg. halves: also one in which the file ends,
    which is no frame: see `is_half`.
    """
    demuxed = source.container.demux(source.stream)
    while True:
        _ear.gravest = Grade.REMARK
        try:
            packet = next(demuxed, None)
        except (av.error.FFmpegError, IndexError) as error:
            # IndexError: PyAV wants to flush streams that have appeared since the file was opened.
            if isinstance(error, MemoryError):
                raise
            packet = None
        _ear.reading = _ear.last_words if _ear.gravest is Grade.LOSS else None
        if packet is None:
            yield None
            return
        if packet.size and (halves or not is_half(source, packet)):
            yield packet


def is_half(source: Source, packet: Packet[VideoStream]) -> bool:
    """Does the file end within this packet? FFmpeg shows what there is of some codecs' pictures, and none of others."""
    return packet.is_corrupt and source.container_name in _BREAK_LAST


def decode(source: Source, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], Complaint | None]:
    """The frames that the decoder gives back for one packet (None flushes it), and its complaint if it has one.

    Most damage is no error to FFmpeg: it says so in its log, and paints over it what it can guess.
    """
    before, _ear.gravest = _ear.complaints, Grade.REMARK
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
    said = _ear.last_words if _ear.complaints != before else raised
    if said is None:
        return frames, None
    return frames, Complaint(said, _ear.gravest if raised is None else Grade.LOSS)
