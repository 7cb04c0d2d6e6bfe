"""What a task needs to know of its job: the plan, the video's index, the chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.engine import Chunk, frames_of
from cvpipe.events import Event
from cvpipe.job import TimeRange
from cvpipe.pipeline import PipelineSpec, Segment, Selection, StopCondition, parse_pipeline, part_of, select_frames
from cvpipe.results import FrameRecord
from cvpipe.store import Store
from cvpipe.video import VideoIndex
from cvpipe.work.bench import Bench, Lease
from cvpipe.work.source import index_of, named_file, same_file

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """One chunk of one segment of a job: what a task `chunk:<job>:<segment>:<chunk>` names."""

    job: str
    segment: int
    chunk: int

    @classmethod
    def parse(cls, task: str) -> Part:
        """The part that a task is about."""
        _, job, segment, chunk = task.split(":")
        return cls(job, int(segment), int(chunk))


def time_range_of(doc: Mapping[str, Any]) -> TimeRange | None:
    """The part of the video that a job looks at."""
    return TimeRange.model_validate(doc["range"]) if doc["range"] else None


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """What a chunk's task needs to know of its job. until: number of its last frame, where its `stop_when` held."""

    doc: dict[str, Any]
    spec: PipelineSpec
    time_range: TimeRange | None
    segments: list[Segment]
    chunks: list[Chunk]
    video: str
    index: VideoIndex
    selection: Selection
    until: int | None = None

    @classmethod
    def load(cls, bench: Bench, job_id: str) -> PlannedJob:
        """Read a planned job. Raises: NotFound, MediaUnreadable (its index must be made again, and can't)."""
        doc = bench.store.job_doc(job_id)
        spec = parse_pipeline(doc["pipeline"])
        plan = bench.store.job_plan(job_id)
        until = None if plan.stopped is None else plan.stopped.frame
        index = index_of(bench, plan.video, lambda: named_file(bench, doc))
        time_range = time_range_of(doc)
        return cls(
            doc=doc,
            spec=spec,
            time_range=time_range,
            segments=[
                Segment(s["kind"], s["queue"], tuple(s["stages"]), s.get("in_order", False)) for s in plan.segments
            ],
            chunks=[Chunk(number, first, stop) for number, (first, stop, _) in enumerate(plan.chunks)],
            video=plan.video,
            index=index,
            selection=select_frames(spec, index, time_range, starts_at=doc.get("starts_at"), until=until),
            until=until,
        )

    @property
    def part(self) -> range:
        """Numbers of all frames of the part of the video that the job looks at, also of those left out."""
        return part_of(self.spec, self.index, self.time_range, until=self.until)

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Numbers of all source frames that the job looks at, (k,) int64."""
        return self.selection.numbers

    def frames_of(self, chunk: int) -> npt.NDArray[np.int64]:
        """Numbers of the source frames looked at in a chunk, (k,) int64."""
        return frames_of(self.chunks[chunk], self.numbers)

    def file(self, bench: Bench, lease: Lease) -> Path:
        """Where the video lies. Raises: InputChanged where it is not the file that the job began with."""
        return same_file(bench, self.doc, self.video, lease)

    @property
    def last_frames_segment(self) -> int:
        """Number of the last segment that looks at frames."""
        return max(n for n, s in enumerate(self.segments) if s.kind == "frames")

    def stop_in(self, segment: int) -> StopCondition | None:
        """The condition at which the job has seen enough, for the segment that makes the job's records; else None."""
        makes = [n for n, s in enumerate(self.segments) if s.kind in ("frames", "sequence")]
        return StopCondition.of(self.doc.get("stop_when")) if segment == makes[-1] else None

    def is_counted(self, segment: int) -> bool:
        """Progress is counted in the last segment that looks at frames."""
        return segment == self.last_frames_segment


def all_events(store: Store, job_id: str) -> Iterator[Event]:
    """Every event that a job has told of now, in order. Memory: one page of 1,000."""
    after = None
    while True:
        page, _ = store.event_log(job_id, after=after, limit=_PAGE)
        for _, event in page:
            yield event
        if len(page) < _PAGE:
            return
        after = page[-1][0]


def all_records(store: Store, job_id: str, *, after: str | None = None) -> Iterator[FrameRecord]:
    """Every record a job has now, in order; with `after`, those behind that stream id. Memory: one page of 1,000."""
    while True:
        page, _ = store.frames(job_id, after=after, limit=_PAGE)
        for _, record in page:
            yield record
        if len(page) < _PAGE:
            return
        after = page[-1][0]
