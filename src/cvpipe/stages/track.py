"""`track`: the same thing keeps its number from frame to frame (ByteTrack)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.results import FrameRecord, Objects
from cvpipe.stages import SequenceStage, StageOptions, Tools, is_true
from cvpipe.tracking import ByteTracker, Thresholds
from cvpipe.tracking.overlap import from_corners

_DEFAULT = Thresholds()


class TrackOptions(StageOptions):
    """Options of `track`."""

    type: Literal["track"] = "track"
    of: str | None = Field(default=None, description="Name of the stage whose objects to track. Default: all objects.")
    high: float = Field(
        default=_DEFAULT.high, ge=0, le=1, description="Objects of at least this score are associated first."
    )
    low: float = Field(
        default=_DEFAULT.low,
        ge=0,
        le=1,
        description="Objects of a score from `low` to `high` only continue a track (half hidden, blurred); those below "
        "`low` are left out.",
    )
    begin: float = Field(
        default=_DEFAULT.begin, ge=0, le=1, description="Least score of an object that begins a track."
    )
    match_iou: float = Field(
        default=_DEFAULT.match_iou,
        ge=0,
        lt=1,
        description="Least IoU of an object with where its track is expected, times the object's score.",
    )
    low_iou: float = Field(
        default=_DEFAULT.low_iou, ge=0, lt=1, description="Least IoU for objects of a score below `high`."
    )
    reach: float = Field(
        default=_DEFAULT.reach,
        ge=0,
        le=10,
        description="What is left is associated once more with all boxes grown on each side by so many standard "
        "deviations of where the track is expected: for small, fast objects and few frames per second. "
        "0: plain ByteTrack.",
    )
    lost_seconds: float = Field(
        default=_DEFAULT.lost_seconds,
        ge=0,
        le=3600,
        description="A track unseen for longer has ended. The next frame looked at always counts, however late.",
    )
    min_hits: int = Field(
        default=_DEFAULT.min_hits,
        ge=1,
        le=100,
        description="Frames in a row that must show an object before its track gets a number; until then `track` is "
        "null. Objects on the first frame get theirs at once.",
    )
    class_aware: bool = Field(
        default=True,
        description="Objects of different labels are never one track. False: a label may change in a track.",
    )

    reset_at: str | None = Field(
        default=None,
        description="Name of a stage that finds cuts (`scenes`): all tracks end where it finds one. Numbers are never "
        "used again.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"`low` ({self.low}) must not be above `high` ({self.high})")
        if self.begin < self.high:
            raise ValueError(f"`begin` ({self.begin}) must not be below `high` ({self.high})")
        return self

    @property
    def thresholds(self) -> Thresholds:
        """The options as the tracker takes them."""
        return Thresholds(
            high=self.high,
            low=self.low,
            begin=self.begin,
            match_iou=self.match_iou,
            low_iou=self.low_iou,
            reach=self.reach,
            lost_seconds=self.lost_seconds,
            min_hits=self.min_hits,
        )


class Track(SequenceStage[TrackOptions]):
    """Number objects so that one thing keeps its number: ByteTrack, by time, so that any frame rate will do.

    Writes `track`, from 1, into objects that are there; drops and adds none. Records that are not `ok`, or whose frame
    was skipped, pass by unchanged: to the tracks it is time in which nobody looked.
    """

    Options = TrackOptions
    gives_tracks = True
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: track, of: people}
    """

    def __init__(self, options: TrackOptions) -> None:
        super().__init__(options)
        self._tracker: ByteTracker | None = None
        self._kinds: dict[tuple[str, str], int] = {}

    @property
    def finds_objects(self) -> bool:
        """It numbers those of others."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are tracked."""
        return () if self.options.of is None else (self.options.of,)

    def boundaries(self) -> tuple[str, ...]:
        """The stage at whose cuts all tracks end."""
        return () if self.options.reset_at is None else (self.options.reset_at,)

    def open(self, tools: Tools) -> None:
        """Take the assignment solver."""
        self._tracker = ByteTracker(self.options.thresholds, tools.linear_sum_assignment)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with track numbers; -1 in objects that have none."""
        if self.options.reset_at is not None and is_true(record, self.options.reset_at, "cut"):
            self._opened.reset()
        if not self.looked(record):
            return record
        objects = record.objects
        if self.options.of is None:
            return self._write(record, self._ids(objects, record.time))
        mine = objects.of_stage(self.options.of)
        track = objects.track.copy()
        track[mine] = self._ids(objects.where(mine), record.time)
        return self._write(record, track)

    def state(self) -> Mapping[str, Any]:
        """The tracks, and the numbers of the labels in them."""
        return {**self._opened.state(), "kinds": [[stage, label] for stage, label in self._kinds]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._opened.restore(state)
        self._kinds = {(stage, label): number for number, (stage, label) in enumerate(state["kinds"])}

    @property
    def _opened(self) -> ByteTracker:
        if self._tracker is None:
            raise RuntimeError(f"stage {self.name!r} must be opened before records come")
        return self._tracker

    def _ids(self, objects: Objects, time: float) -> npt.NDArray[np.int32]:
        return self._opened.update(from_corners(objects.box), objects.score, self._kinds_of(objects), time)

    def _kinds_of(self, objects: Objects) -> npt.NDArray[np.int64]:
        labels = objects.label if self.options.class_aware else ("",) * len(objects)
        known = self._kinds
        pairs = zip(objects.stage, labels, strict=True)
        return np.array([known.setdefault(pair, len(known)) for pair in pairs], np.int64)

    @staticmethod
    def _write(record: FrameRecord, track: npt.NDArray[np.int32]) -> FrameRecord:
        return replace(record, objects=replace(record.objects, track=track)) if len(track) else record
