"""Gaps: the parts of a video that a job has no results for, as a list for people."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, Field

from cvpipe.results import FrameRecord

MAX_LISTED: Final = 1000


class Gap(BaseModel):
    """Consecutive frames that a job has no results for, for one reason."""

    first: int = Field(ge=0, description="Number of the first frame.")
    last: int = Field(ge=0, description="Number of the last frame.")
    start: float = Field(ge=0, description="Time of the first one: seconds since the first frame of the video.")
    stop: float = Field(ge=0, description="Time of the last one.")
    frames: int = Field(ge=1, description="How many frames the job wanted of them.")
    status: Literal["decode_error", "failed", "missing"] = Field(
        description="`decode_error`: they can't be decoded; `failed`: their part of the video was given up; `missing`: "
        "the file is cut off before them."
    )
    error: str | None = Field(default=None, description="Why, as the frames' records say it.")


class GapFinder:
    """Finds the gaps in records that pass by in order. Memory: `MAX_LISTED` gaps."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.frames = 0
        self._open: Gap | None = None

    def add(self, record: FrameRecord) -> None:
        """Take the next record."""
        if record.status == "ok":
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
        if len(self.gaps) < MAX_LISTED:
            self.gaps.append(self._open)
