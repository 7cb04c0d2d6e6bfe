"""What is known of a video without its pixels: facts, the time of every frame, and where decoding can begin."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidRequest

_MAGIC = b"cvi1"
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
    timing: "file" where the frames have usable times of their own; "counted" where they were made up from the order
    of the frames, so that decoding must begin at the first one.
    header: what the file claims, unchecked: frames, duration_seconds, fps, bit_rate; None where it claims nothing.
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
    timing: Literal["file", "counted"] = "file"
    header: Mapping[str, float | int | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "header": dict(self.header)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VideoFacts:
        """The inverse of `to_dict`."""
        return cls(**data)


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """Every frame of a video in display order, known without decoding.

    pts: (n,) int64, ascending and unique, in units of `facts.time_base`.
    keyframe: (n,) bool, where decoding can begin.
    """

    facts: VideoFacts
    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pts.dtype != np.int64 or self.pts.ndim != 1 or not len(self.pts):
            raise ValueError(f"pts: wanted int64 (n,), n > 0, got {self.pts.dtype} {self.pts.shape}")
        if self.keyframe.dtype != np.bool_ or self.keyframe.shape != self.pts.shape:
            raise ValueError(f"keyframe: wanted bool {self.pts.shape}, got {self.keyframe.dtype} {self.keyframe.shape}")
        if (np.diff(self.pts) <= 0).any():
            raise ValueError("pts must ascend")
        self.pts.flags.writeable = False
        self.keyframe.flags.writeable = False

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
        """The index as bytes, compressed: about two bytes a frame."""
        facts = json.dumps(self.facts.to_dict(), separators=(",", ":")).encode()
        # Differences of differences are nearly all zero where the frame rate is constant.
        steps = np.diff(self.pts, prepend=0)
        body = np.diff(steps, prepend=0).astype("<i8").tobytes() + np.packbits(self.keyframe).tobytes()
        return _HEAD.pack(_MAGIC, len(facts), len(self)) + facts + zlib.compress(body, 6)

    @classmethod
    def unpack(cls, raw: bytes) -> VideoIndex:
        """The inverse of `pack`. Raises: InvalidRequest where `raw` is something else."""
        try:
            magic, length, count = _HEAD.unpack_from(raw)
            if magic != _MAGIC:
                raise ValueError(f"it begins with {magic!r}")
            facts = VideoFacts.from_dict(json.loads(raw[_HEAD.size : _HEAD.size + length]))
            body = zlib.decompress(raw[_HEAD.size + length :])
            bends = np.frombuffer(body, "<i8", count)
            bits = np.unpackbits(np.frombuffer(body, np.uint8, offset=count * 8), count=count)
            return cls(facts=facts, pts=np.cumsum(np.cumsum(bends), dtype=np.int64), keyframe=bits.astype(bool))
        except (struct.error, zlib.error, ValueError, TypeError) as error:
            raise InvalidRequest(f"not a packed video index: {error}") from error
