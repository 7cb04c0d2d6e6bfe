"""What is known of a video without its pixels: facts, the time of every frame, and where decoding can begin."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidRequest
from cvpipe.frames import Timeline

_MAGIC = b"cvi3"
_HEAD = struct.Struct("<4sIQ")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Facts of a video, measured where they can be.

    container, codec, pixel_format: FFmpeg's names (`mp4`, `h264`, `yuv420p`).
    width, height: of the coded picture, in pixels. display_width, display_height: as shown, after rotation.
    rotation: degrees clockwise that the coded picture is turned to be shown (0, 90, 180, 270); mirrored: and then
    flipped left to right.
    frames: how many can be seen. duration_seconds: from the first frame to the end of the last. fps: their quotient.
    time_base: seconds per unit of pts, as "num/den". stream: index of the video stream in the file.
    sample_aspect_ratio: width over height of one pixel, "num/den"; shown, not applied. field_order: "progressive",
    "top" or "bottom" (the field of an interlaced frame that comes first).
    colour: FFmpeg's names of `space`, `range`, `primaries` and `transfer`; "unknown" where the file does not say.
    timing: "file" where the frames have usable times of their own; "counted" where they were made up from the order
    of the frames, so that decoding must begin at the first one.
    bit_rate: bits a second of the video stream alone; 0 where the sizes of its packets are not known.
    file_bytes: size of the file; 0 where that is not known.
    header: what the file claims, unchecked: frames, duration_seconds, fps, bit_rate (of all streams), width, height,
    sample_aspect_ratio, creation_time (ISO 8601, UTC); None where it claims nothing.
    streams: all streams of the file, as index, kind, codec, width and height (0 where not a video), is_default,
    is_cover.
    warnings: what is wrong with the file although it can be read, as code and message. `media_truncated` also says
    from which frame on (`first`) and second on (`start`) frames are missing, how many (`frames`) and up to which second
    (`stop`); the latter two are None where the file does not say.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    display_width: int
    display_height: int
    rotation: int
    frames: int
    duration_seconds: float
    fps: float
    time_base: str
    stream: int
    mirrored: bool = False
    sample_aspect_ratio: str = "1/1"
    field_order: Literal["progressive", "top", "bottom"] = "progressive"
    colour: Mapping[str, str] = field(default_factory=dict)
    timing: Literal["file", "counted"] = "file"
    bit_rate: int = 0
    file_bytes: int = 0
    header: Mapping[str, float | int | str | None] = field(default_factory=dict)
    streams: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[Mapping[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **asdict(self),
            "streams": [dict(s) for s in self.streams],
            "warnings": [dict(w) for w in self.warnings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VideoFacts:
        """The inverse of `to_dict`."""
        lists = {name: tuple(data[name]) for name in ("streams", "warnings") if name in data}
        return cls(**{**data, **lists})


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """Every frame of a video in display order, known without decoding.

    pts: (n,) int64, ascending and unique, in units of `facts.time_base`.
    keyframe: (n,) bool, where decoding can begin. reference: (n,) bool, whether other frames may be predicted from it.
    size: (n,) int64, bytes of its packet; 0 where that is not known.
    """

    facts: VideoFacts
    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    size: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.pts.dtype != np.int64 or self.pts.ndim != 1 or not len(self.pts):
            raise ValueError(f"pts: wanted int64 (n,), n > 0, got {self.pts.dtype} {self.pts.shape}")
        for name, kind in (("keyframe", np.bool_), ("reference", np.bool_), ("size", np.int64)):
            array = getattr(self, name)
            if array.dtype != kind or array.shape != self.pts.shape:
                raise ValueError(f"{name}: wanted {kind.__name__} {self.pts.shape}, got {array.dtype} {array.shape}")
            array.flags.writeable = False
        if (np.diff(self.pts) <= 0).any():
            raise ValueError("pts must ascend")
        self.pts.flags.writeable = False

    def __len__(self) -> int:
        return len(self.pts)

    def __repr__(self) -> str:
        f = self.facts
        size = f"{f.display_width}x{f.display_height}"
        return f"VideoIndex({f.codec} {size}, frames={len(self)}, keyframes={self.keyframe.sum()})"

    @cached_property
    def times(self) -> npt.NDArray[np.float64]:
        """(n,) seconds since the first frame, to the microsecond."""
        base = Fraction(self.facts.time_base)
        times = ((self.pts - self.pts[0]) * base.numerator / base.denominator).round(6)
        times.flags.writeable = False
        return times

    @property
    def timeline(self) -> Timeline:
        """What a stage that selects frames gets to know of them."""
        stop = np.append(self.times[1:], max(self.facts.duration_seconds, float(self.times[-1])))
        return Timeline(np.arange(len(self), dtype=np.int64), self.times, self.keyframe, self.reference, stop)

    def chunks(self, first: int, stop: int, seconds: float) -> list[tuple[int, int]]:
        """Cut the frames `first` <= number < `stop` into half-open ranges to be decoded independently.

        Each begins at a keyframe (the first one at `first`) and lasts at least `seconds`, the last one at least half
        of that.
        """
        if not 0 <= first <= stop <= len(self):
            raise ValueError(f"wanted 0 <= first <= stop <= {len(self)}, got {first}, {stop}")
        if first == stop:
            return []
        times = self.times
        end = float(times[stop]) if stop < len(self) else self.facts.duration_seconds
        cuts = [first]
        for number in np.flatnonzero(self.keyframe[first + 1 : stop]) + first + 1:
            # Times are rounded to microseconds: ten frames of a tenth of a second are one second.
            if times[number] - times[cuts[-1]] >= seconds - 2e-6 and end - times[number] >= seconds / 2 - 2e-6:
                cuts.append(int(number))
        return list(zip(cuts, [*cuts[1:], stop], strict=True))

    def pack(self) -> bytes:
        """The index as bytes, compressed: two to four bytes a frame, nearly all of them for the sizes."""
        facts = json.dumps(self.facts.to_dict(), separators=(",", ":")).encode()
        # Differences of differences are nearly all zero where the frame rate is constant.
        bends = np.diff(np.diff(self.pts, prepend=0), prepend=0)
        flags = np.packbits([self.keyframe, self.reference], axis=1)
        body = _by_place(bends) + _by_place(self.size) + flags.tobytes()
        return _HEAD.pack(_MAGIC, len(facts), len(self)) + facts + zlib.compress(body, 6)

    @classmethod
    def unpack(cls, raw: bytes, *, max_frames: int = 10_000_000) -> VideoIndex:
        """The inverse of `pack`. Raises: InvalidRequest where `raw` is something else, or of more frames."""
        try:
            magic, length, count = _HEAD.unpack_from(raw)
            if magic != _MAGIC:
                raise ValueError(f"it begins with {magic!r}")
            if count > max_frames:
                raise ValueError(f"it is of {count} frames")
            facts = VideoFacts.from_dict(json.loads(raw[_HEAD.size : _HEAD.size + length]))
            # What a decoder has sent must not unfold to more than it says.
            unfolded = 16 * count + 2 * -(-count // 8)
            inflate = zlib.decompressobj()
            body = inflate.decompress(raw[_HEAD.size + length :], unfolded + 1)
            if len(body) != unfolded or not inflate.eof:
                raise ValueError(f"wanted {unfolded} bytes of frames, got {len(body)}")
            bends, sizes = _from_places(body[: 8 * count]), _from_places(body[8 * count : 16 * count])
            flags = np.frombuffer(body, np.uint8, offset=16 * count).reshape(2, -1)
            keyframe, reference = np.unpackbits(flags, axis=1, count=count).astype(bool)
            pts = np.cumsum(np.cumsum(bends), dtype=np.int64)
            return cls(facts=facts, pts=pts, keyframe=keyframe, reference=reference, size=sizes)
        except (struct.error, zlib.error, ValueError, TypeError) as error:
            raise InvalidRequest(f"not a packed video index: {error}") from error


def _by_place(values: npt.NDArray[np.int64]) -> bytes:
    """The lowest bytes of all values, then their second bytes, and so on: the upper ones are nearly all equal."""
    return values.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes()


def _from_places(raw: bytes) -> npt.NDArray[np.int64]:
    """The inverse of `_by_place`."""
    columns = np.frombuffer(raw, np.uint8).reshape(8, -1)
    return np.ascontiguousarray(columns.T).view("<i8").reshape(-1).astype(np.int64)
