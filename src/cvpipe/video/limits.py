"""What a decoder accepts of an untrusted file: containers, codecs, and how much of the machine it may use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cvpipe.settings import Settings

CONTAINERS: Final = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "ogg")
"""FFmpeg's names of the demuxers allowed. None opens other files: `concat`, `hls` and `dash` do, and are not here."""

CODECS: Final = frozenset(
    "h264 hevc av1 vp8 vp9 mpeg1video mpeg2video mpeg4 mjpeg prores dnxhd h263 flv1 theora ffv1".split()
)
"""FFmpeg's names of the video codecs allowed."""

DECODERS: Final = (
    *sorted(CODECS),
    "flv",
    "libdav1d",
    "libvpx",
    "libvpx-vp9",
    "aac",
    "mp3float",
    "mp3",
    "ac3",
    "opus",
    "vorbis",
)
"""FFmpeg's names of the decoders that may run. Audio is never decoded to the end, but a file is slow to open where
FFmpeg can't look at its audio."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one decoder process may use.

    max_pixels: width x height of a decoded frame. max_side: its width and its height. max_streams: of a file.
    memory_bytes: address space, without the ring of pictures.
    timeout_seconds: a decoder that says nothing for longer, while it is waited for, is killed.
    cpu_seconds: of one request; the backstop for a decoder that stays busy without end.
    max_frames: of a video. max_file_bytes: of a file, wherever it comes from.
    """

    max_pixels: int = 8192 * 4320
    max_side: int = 16384
    max_streams: int = 64
    memory_bytes: int = 2 * 2**30
    timeout_seconds: float = 30
    cpu_seconds: int = 4 * 3600
    max_frames: int = 10_000_000
    max_file_bytes: int = 2**40

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that the operator has set."""
        return cls(
            max_pixels=settings.max_pixels,
            memory_bytes=settings.decoder_memory_bytes,
            timeout_seconds=settings.decoder_timeout_seconds,
            max_file_bytes=settings.max_file_bytes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `Limits(**values)` is the inverse."""
        return asdict(self)
