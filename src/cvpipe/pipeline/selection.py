"""Which frames of a video a job looks at, and what is known of them before anybody has looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidRequest
from cvpipe.frames import Timeline
from cvpipe.job import TimeRange
from cvpipe.pipeline.spec import PipelineSpec
from cvpipe.results import FrameRecord, epoch_seconds
from cvpipe.stages import Selector, blaming

if TYPE_CHECKING:
    from cvpipe.video import VideoIndex


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The frames that a job looks at, and what is known of them before anybody has looked.

    numbers: of the source frames, ascending, (k,) int64. summary: what the selectors say of it all, by stage name.
    starts_at: seconds since the epoch at which the video's first frame was taken, None where that is not known.
    """

    numbers: npt.NDArray[np.int64]
    summary: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    starts_at: float | None = None
    _index: VideoIndex | None = None
    _values: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def record(self, number: int) -> FrameRecord:
        """The record of a frame as it is before any stage has looked at it."""
        assert self._index is not None
        time = float(self._index.times[number])
        return FrameRecord(
            frame=number,
            pts=int(self._index.pts[number]),
            time=time,
            values={name: values[number] for name, values in self._values.items() if number in values},
            wall_time=None if self.starts_at is None else round((self.starts_at + time) * 1000) / 1000,
        )

    def before(self, number: int, count: int) -> npt.NDArray[np.int64]:
        """The last `count` of the numbers before `number`; fewer where there are no more."""
        at = int(np.searchsorted(self.numbers, number))
        return self.numbers[max(0, at - count) : at]


def select_frames(
    spec: PipelineSpec,
    index: VideoIndex,
    time_range: TimeRange | None = None,
    *,
    starts_at: float | None = None,
    until: int | None = None,
) -> Selection:
    """The source frames that the pipeline looks at.

    Depends on the index alone, so every worker comes to the same answer for its chunk.
    starts_at: seconds since the epoch at which the video's first frame was taken. Default: what the file says.
    until: number of the last frame, of those it would look at otherwise; its selectors speak of no later one either.
    Raises: StageFailed.
    """
    frames = _within(index, frames_in_range(index, time_range))
    values: dict[str, Mapping[int, Any]] = {}
    summary: dict[str, Mapping[str, Any]] = {}
    for stage in spec.make_stages():
        if not isinstance(stage, Selector):
            continue
        with blaming(stage):
            keep = stage.select(frames)
            if said := stage.values(frames):
                values[stage.name] = said
            if told := stage.summary(frames if until is None else frames.where(frames.number <= until)):
                summary[stage.name] = told
        frames = frames.where(keep)
    if until is not None:
        frames = frames.where(frames.number <= until)
    began = creation_time(index.facts.header.get("creation_time")) if starts_at is None else starts_at
    return Selection(frames.number, summary, began, index, values)


def nothing_left(index: VideoIndex, time_range: TimeRange | None) -> InvalidRequest:
    """The error of a job that looks at no frame: its range has none, or its stages leave none."""
    lasts = f"the video has {len(index)} frames and lasts {index.facts.duration_seconds:g} s"
    if time_range is None or len(frames_in_range(index, time_range)):
        return InvalidRequest(f"the stages that choose frames leave none to look at; {lasts}", field="pipeline")
    until = "on" if time_range.stop is None else f"to {time_range.stop:g} s"
    return InvalidRequest(f"no frame begins from {time_range.start:g} s {until}; {lasts}", field="range")


def creation_time(claimed: object) -> float | None:
    """Seconds since the epoch of the time that a file claims to be of; None where it claims none that can be.

    Cameras without a clock write 1904 or 1970.
    """
    if not isinstance(claimed, str):
        return None
    try:
        seconds = epoch_seconds(claimed)
    except ValueError:
        return None
    return seconds if 86400 < seconds < 200 * 365 * 86400 else None


def part_of(
    spec: PipelineSpec, index: VideoIndex, time_range: TimeRange | None = None, *, until: int | None = None
) -> range:
    """Numbers of all frames of the part that a job looks at, also of those that decimation leaves out.

    The job's own range, the pipeline's `range` stages and the last frame `until` bound it.
    """
    part = frames_in_range(index, time_range)
    for stage in spec.make_stages():
        if isinstance(stage, Selector) and stage.is_span:
            with blaming(stage):
                left = part[0:0] if not part else _span(stage.select(_within(index, part)), part)
            part = left
    return part if until is None else range(part.start, min(part.stop, until + 1))


def _within(index: VideoIndex, part: range) -> Timeline:
    frames = index.timeline
    return frames.where((frames.number >= part.start) & (frames.number < part.stop))


def _span(keep: npt.NDArray[np.bool_], part: range) -> range:
    kept = np.flatnonzero(keep)
    return part[int(kept[0]) : int(kept[-1]) + 1] if len(kept) else part[0:0]


def frames_in_range(index: VideoIndex, time_range: TimeRange | None) -> range:
    """Numbers of all frames in a part of a video; of the whole video without one."""
    if time_range is None:
        return range(len(index))
    first = int(np.searchsorted(index.times, time_range.start))
    stop = len(index) if time_range.stop is None else int(np.searchsorted(index.times, time_range.stop))
    return range(first, max(first, stop))
