"""`track`: the same thing keeps its number from frame to frame (ByteTrack, OC-SORT, BoT-SORT)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.embeddings import from_value
from cvpipe.errors import InvalidPipeline
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages import SequenceStage, Stage, StageOptions, Tools, is_true
from cvpipe.tracking import BotSortTracker, ByteTracker, OcSortTracker, Thresholds
from cvpipe.tracking.filling import Filling
from cvpipe.tracking.overlap import from_corners

_DEFAULT = Thresholds()


class TrackOptions(StageOptions):
    """Options of `track`."""

    type: Literal["track"] = "track"
    of: str | None = Field(default=None, description="Name of the stage whose objects to track. Default: all objects.")
    method: Literal["bytetrack", "ocsort", "botsort"] = Field(
        default="bytetrack",
        description="bytetrack: by place. ocsort: also by the way that objects were seen to go, for abrupt motion. "
        "botsort: also by `appearance`.",
    )
    appearance: str | None = Field(
        default=None,
        description="With `botsort`: name of a stage `embed` that has looked at the objects; boxes that look alike are "
        "rather one track.",
    )
    alike: float = Field(
        default=0.5, ge=0, lt=1, description="Least cosine of the vectors of two objects that look alike."
    )
    camera_motion: str | None = Field(
        default=None,
        description="Name of a stage that tells how the camera has moved since the frame before: `flow`, or one of "
        "your own whose value of a frame has a `matrix`, two rows of three, from pixels of the frame before to this "
        "one's. Tracks are moved along: for cameras that pan or shake.",
    )
    fill_gaps: bool = Field(
        default=False,
        description="Where a track is seen again after `lost_seconds` at most, add it to the frames in between: "
        "objects on a straight way, each with `filled: true`. Records then wait so long for their results.",
    )
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
        if self.appearance is not None and self.method != "botsort":
            raise ValueError(f"`appearance` is for `method: botsort`, not {self.method}")
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
    """Number objects so that one thing keeps its number: ByteTrack, OC-SORT or BoT-SORT, at any frame rate.

    Writes `track`, from 1, into objects that are there. Records that are not `ok`, or whose frame was skipped, pass by
    unchanged: to the tracks it is time in which nobody looked. With `fill_gaps` it adds the objects that must have been
    there: on frames (skipped ones too, not damaged ones) between two that show a track, straightly interpolated, with
    the lesser score of both ends and `filled: true`. Stages behind it see them like any others.
    """

    Options = TrackOptions
    gives_tracks = True
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: embed, name: looks, of: people, model: person-reid}
    - {type: track, of: people, method: botsort, appearance: looks}
    """

    def __init__(self, options: TrackOptions) -> None:
        super().__init__(options)
        self._tracker: ByteTracker | None = None
        self._kinds: dict[tuple[str, str], int] = {}
        self._filling = Filling(options.lost_seconds)
        self._moved: npt.NDArray[np.float64] | None = None  # by the camera, since objects were looked at last
        self._added: dict[int, list[Objects]] = {}

    @property
    def finds_objects(self) -> bool:
        """It numbers those of others."""
        return False

    @property
    def amends(self) -> bool:
        """Where gaps are filled."""
        return self.options.fill_gaps

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are tracked."""
        return () if self.options.of is None else (self.options.of,)

    def boundaries(self) -> tuple[str, ...]:
        """The stage at whose cuts all tracks end."""
        return () if self.options.reset_at is None else (self.options.reset_at,)

    def meet(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """See whether the stages are there that tell of looks and of the camera. Raises: InvalidPipeline."""
        looks, motion = self.options.appearance, self.options.camera_motion
        if looks is not None and (looks not in earlier or earlier[looks].kind() != "embed"):
            raise InvalidPipeline(f"`appearance` must name an earlier stage `embed`; got {looks!r}", field="appearance")
        if motion is not None and motion not in earlier:
            raise InvalidPipeline(f"`camera_motion` must name an earlier stage; got {motion!r}", field="camera_motion")

    def open(self, tools: Tools) -> None:
        """Take the assignment solver."""
        limits, assign = self.options.thresholds, tools.linear_sum_assignment
        match self.options.method:
            case "bytetrack":
                self._tracker = ByteTracker(limits, assign)
            case "ocsort":
                self._tracker = OcSortTracker(limits, assign)
            case "botsort":
                self._tracker = BotSortTracker(limits, assign, alike=self.options.alike)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with track numbers; -1 in objects that have none."""
        if self.options.reset_at is not None and is_true(record, self.options.reset_at, "cut"):
            self._opened.reset()
            self._filling.reset()
            self._moved = None
        self._follow_camera(record)
        if not self.looked(record):
            if self.options.fill_gaps:
                self._filling.skip(record.frame, record.time)
            return record
        objects = record.objects
        mine = ~objects.filled
        if self.options.of is not None:
            mine &= objects.of_stage(self.options.of)
        own = objects.where(mine)
        track = objects.track.copy()
        track[mine] = self._ids(own, record.time)
        if self.options.fill_gaps:
            self._fill(record, replace(own, track=track[mine]))
        return self._write(record, track)

    def take_added(self) -> Mapping[int, Objects]:
        """The objects in the gaps that the last record has ended."""
        added, self._added = self._added, {}
        return {frame: Objects.concat(some) for frame, some in added.items()}

    def first_open(self, frame: int) -> int:
        """Behind the frame on which the track was seen last that may yet be seen again."""
        return self._filling.first_open(frame)

    def _fill(self, record: FrameRecord, seen: Objects) -> None:
        for gap in self._filling.update(record.frame, record.time, seen.track.tolist(), seen.box, seen.score):
            place = gap.place
            for frame, box in zip(gap.frames, gap.boxes, strict=True):
                there = Objects.make(
                    stage=seen.stage[place],
                    box=[box],
                    score=[gap.score],
                    label=[seen.label[place]],
                    class_id=[seen.class_id[place]],
                    track=[seen.track[place]],
                )
                self._added.setdefault(frame, []).append(replace(there, filled=np.ones(1, np.bool_)))

    def state(self) -> Mapping[str, Any]:
        """The tracks, and the numbers of the labels in them."""
        more: dict[str, Any] = {"kinds": [[stage, label] for stage, label in self._kinds]}
        if self.options.fill_gaps:
            more["filling"] = self._filling.state()
        if self._moved is not None:
            more["moved"] = self._moved.tolist()
        return {**self._opened.state(), **more}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._opened.restore(state)
        if self.options.fill_gaps:
            self._filling.restore(state["filling"])
        self._moved = np.array(state["moved"]) if "moved" in state else None
        self._kinds = {(stage, label): number for number, (stage, label) in enumerate(state["kinds"])}

    @property
    def _opened(self) -> ByteTracker:
        if self._tracker is None:
            raise RuntimeError(f"stage {self.name!r} must be opened before records come")
        return self._tracker

    def _ids(self, objects: Objects, time: float) -> npt.NDArray[np.int32]:
        moved, self._moved = self._moved, None
        return self._opened.update(
            from_corners(objects.box),
            objects.score,
            self._kinds_of(objects),
            time,
            looks=self._looks_of(objects),
            camera=moved,
        )

    def _looks_of(self, objects: Objects) -> npt.NDArray[np.float64] | None:
        """(n, d), of length 1; zeros where nothing is known of an object. None where nothing is known of any."""
        if self.options.appearance is None:
            return None
        vectors = [from_value((values or {}).get(self.options.appearance)) for values in objects.values]
        size = next((len(vector) for vector in vectors if vector is not None), 0)
        looks = np.zeros((len(vectors), size))
        for row, vector in enumerate(vectors):
            if vector is not None and len(vector) == size:
                length = float(np.sqrt((vector.astype(np.float64) ** 2).sum()))
                looks[row] = vector / length if length > 0 else 0
        return looks if size else None

    def _follow_camera(self, record: FrameRecord) -> None:
        """Put the camera's motion since the frame before on top of what it has moved since objects were looked at."""
        step = self._step_of(record.values.get(self.options.camera_motion or ""))
        if step is None:
            return
        if self._moved is None:
            self._moved = step
            return
        turned, moved = step[:, :2], step[:, 2]
        self._moved = np.concatenate(
            (turned @ self._moved[:, :2], (turned @ self._moved[:, 2] + moved)[:, None]), axis=1
        )

    def _step_of(self, value: Any) -> npt.NDArray[np.float64] | None:
        """From pixels of the frame before to this one's, (2, 3), as a value tells it; None where it does not."""
        if not isinstance(value, Mapping):
            return None
        if value.get("matrix") is not None:
            return np.asarray(value["matrix"], np.float64)[:2]
        camera = value.get("camera")
        if not isinstance(camera, Mapping):
            return None
        turn, middle = math.radians(camera["turn"]), np.array(self.size) / 2
        cosine, sine = camera["zoom"] * math.cos(turn), camera["zoom"] * math.sin(turn)
        turned = np.array([[cosine, -sine], [sine, cosine]])
        moved = middle + np.array([camera["dx"], camera["dy"]]) - turned @ middle  # it turns and zooms about its middle
        return np.concatenate((turned, moved[:, None]), axis=1)

    def _kinds_of(self, objects: Objects) -> npt.NDArray[np.int64]:
        labels = objects.label if self.options.class_aware else ("",) * len(objects)
        known = self._kinds
        pairs = zip(objects.stage, labels, strict=True)
        return np.array([known.setdefault(pair, len(known)) for pair in pairs], np.int64)

    @staticmethod
    def _write(record: FrameRecord, track: npt.NDArray[np.int32]) -> FrameRecord:
        return replace(record, objects=replace(record.objects, track=track)) if len(track) else record
