"""The facts of an opened video: what its first frame shows, and what its headers claim. Runs in decoder processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from cvpipe.video.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from av.stream import Stream
    from av.video.frame import VideoFrame

# FFmpeg's names of its enumerations, which are those of ISO/IEC 23091-2 (libavutil/pixdesc.c).
_SPACES: Final = (
    "gbr bt709 unknown reserved fcc bt470bg smpte170m smpte240m ycgco bt2020nc bt2020c smpte2085 chroma-derived-nc "
    "chroma-derived-c ictcp ipt-c2 ycgco-re ycgco-ro"
).split()
_RANGES: Final = ("unknown", "tv", "pc")
_PRIMARIES: Final = (
    "reserved bt709 unknown reserved bt470m bt470bg smpte170m smpte240m film bt2020 smpte428 smpte431 smpte432"
).split()
_TRANSFERS: Final = (
    "reserved bt709 unknown reserved bt470m bt470bg smpte170m smpte240m linear log100 log316 iec61966-2-4 bt1361e "
    "iec61966-2-1 bt2020-10 bt2020-12 smpte2084 smpte428 arib-std-b67"
).split()
_TOP_FIRST: Final = (0, 2, 5)  # AVFieldOrder, as shown; 0 is unknown, and most interlaced video has the top field first
_FIRST_YEAR: Final = 1990
"""No clock that is set says an earlier time of digital video: 1904, 1970 and 1980 are where clocks begin to count."""
_MAX_WORDS: Final = 100


def colour(frame: VideoFrame) -> dict[str, str]:
    """How the numbers in a frame are to be understood, in FFmpeg's names."""
    return {
        "space": _name(_SPACES, frame.colorspace),
        "range": _name(_RANGES, frame.color_range),
        "primaries": _name(_PRIMARIES, frame.color_primaries),
        "transfer": _name(_TRANSFERS, frame.color_trc),
    }


def _name(names: tuple[str, ...] | list[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else "unknown"


def field_order(source: Source, frame: VideoFrame) -> Literal["progressive", "top", "bottom"]:
    """Which field of a frame that the decoder calls interlaced comes first."""
    if not frame.interlaced_frame:
        return "progressive"
    return "top" if source.stream.codec_context.field_order in _TOP_FIRST else "bottom"


def sample_aspect_ratio(source: Source) -> str:
    """Width over height of one pixel; "1/1" where the file says nothing."""
    ratio = source.stream.sample_aspect_ratio
    return f"{ratio.numerator}/{ratio.denominator}" if ratio and ratio > 0 else "1/1"


def streams(source: Source) -> tuple[dict[str, Any], ...]:
    """All streams of the file."""
    return tuple(_stream(s) for s in source.container.streams)


def _stream(stream: Stream) -> dict[str, Any]:
    # A stream that FFmpeg has no decoder for has no codec context, whatever its type says.
    context = cast(Any, stream.codec_context)
    is_video = stream.type == "video" and context is not None
    return {
        "index": stream.index,
        "kind": stream.type,
        "codec": "unknown" if context is None else str(stream.codec.canonical_name)[:_MAX_WORDS],
        "width": context.width if is_video else 0,
        "height": context.height if is_video else 0,
        "is_default": bool(stream.disposition & stream.disposition.default),
        "is_cover": bool(stream.disposition & stream.disposition.attached_pic),
    }


def claims(source: Source) -> dict[str, float | int | str | None]:
    """What the headers say, unchecked."""
    stream, container = source.stream, source.container
    seconds: float | None = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    rate: Fraction | None = stream.average_rate
    return {
        "frames": stream.frames or None,
        "duration_seconds": seconds,
        "fps": float(rate) if rate else None,
        "bit_rate": container.bit_rate or None,
        "creation_time": creation_time(container.metadata, stream.metadata),
    }


def creation_time(*metadata: Mapping[str, str]) -> str | None:
    """When recording began, ISO 8601 in UTC, by the first of these that says so and makes sense.

    Times without a zone, dates without a time, and times of clocks that were never set are left out.
    """
    now = datetime.now(UTC)
    for tags in metadata:
        # Apple's has the zone of the place, and is right where the other is local time called UTC.
        for key in ("com.apple.quicktime.creationdate", "creation_time", "date"):
            try:
                time = datetime.fromisoformat(tags.get(key, ""))
            except ValueError:
                continue
            if time.tzinfo is not None and time.year >= _FIRST_YEAR and time <= now + timedelta(days=1):
                utc = time.astimezone(UTC)
                digits = "microseconds" if utc.microsecond else "seconds"
                return utc.isoformat(timespec=digits).replace("+00:00", "Z")
    return None
