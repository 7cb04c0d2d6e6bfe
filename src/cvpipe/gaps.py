"""Gaps: the parts of a video that a job has no results for, as a list for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, Field

from cvpipe.errors import MediaTruncated
from cvpipe.results import FrameRecord

if TYPE_CHECKING:
    from cvpipe.job import TimeRange
    from cvpipe.video import VideoIndex

MAX_LISTED: Final = 1000


class Gap(BaseModel):
    """Consecutive frames that a job has no results for, for one reason."""

    first: int = Field(ge=0, description="Number of the first frame.")
    last: int = Field(ge=0, description="Number of the last frame.")
    start: float = Field(ge=0, description="Time of the first one: seconds since the first frame of the video.")
    stop: float = Field(ge=0, description="Time of the last one.")
    frames: int = Field(
        ge=0,
        description="How many frames the job wanted of them; of missing ones, how many the file claims, 0 where it "
        "does not say.",
    )
    status: Literal["decode_error", "failed", "missing"] = Field(
        description="`decode_error`: they can't be decoded; `failed`: their part of the video was given up; `missing`: "
        "the file is cut off before them."
    )
    error: str | None = Field(default=None, description="Why, as the frames' records say it.")


class GapFinder:
    """Finds the gaps in records that pass by in order: the first `MAX_LISTED` of them, and how many there are."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.total = 0
        self.frames = 0
        self.degraded = 0
        self._open: Gap | None = None

    def add(self, record: FrameRecord) -> None:
        """Take the next record."""
        if record.status == "ok":
            self.degraded += record.degraded
            self._open = None
            return
        self.frames += 1
        gap = self._open
        if gap is not None and (gap.status, gap.error) == (record.status, record.error):
            gap.last, gap.stop, gap.frames = record.frame, record.time, gap.frames + 1
            return
        self._open = Gap(
            first=record.frame,
            last=record.frame,
            start=record.time,
            stop=record.time,
            frames=1,
            status=record.status,
            error=record.error,
        )
        self.total += 1
        if len(self.gaps) < MAX_LISTED:
            self.gaps.append(self._open)


def missing(index: VideoIndex, part: range, time_range: TimeRange | None = None) -> Gap | None:
    """What is not there of a file that is cut off, as far as a job wants it.

    part: numbers of all frames of the part of the video that the job looks at. time_range: the job's.
    """
    facts = index.facts
    warning = next((warning for warning in facts.warnings if warning["code"] == MediaTruncated.code), None)
    if warning is None or part.stop < len(index):
        return None
    if time_range is not None and time_range.stop is not None and time_range.stop <= facts.duration_seconds:
        return None
    first, start = warning.get("first", len(index)), warning.get("start", facts.duration_seconds)
    frames, stop = warning.get("frames"), warning.get("stop")
    return Gap(
        first=first,
        last=first + max(frames or 0, 1) - 1,
        start=start,
        stop=start if stop is None else max(stop, start),
        frames=frames or 0,
        status="missing",
        error=MediaTruncated.code,
    )
