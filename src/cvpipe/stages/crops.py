"""`crops`: objects to be looked at closely, cut out of their frames: the best of each track, or every n-th frame's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cvpipe.cuts import Floats, cut_turned, cut_upright, face_outline, outline_of
from cvpipe.frames import Image
from cvpipe.picks import Cutting, Pick, Shot
from cvpipe.quality import merit
from cvpipe.results import FrameRecord
from cvpipe.stages import CropStage, StageOptions, Tools

_BEST = 3
_SLACK = 1e-9  # of a window: 0.3 s is the third tenth of a second, whatever binary fractions say
_FACE_POINTS = 5


class CropsOptions(StageOptions):
    """Options of `crops`."""

    type: Literal["crops"] = "crops"
    of: str = Field(min_length=1, max_length=64, description="Name of the stage whose objects are cut out.")
    best: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="So many crops of each track, at most: those of the best quality. Default: 3, without `every`.",
    )
    every: int | None = Field(
        default=None, ge=1, le=1_000_000, description="All objects on every n-th frame, with a `track` or without."
    )
    apart_seconds: float = Field(
        default=0.5,
        gt=0,
        le=3600,
        description="With `best`: at most one crop of a track in each span of so many seconds, counted from the "
        "beginning of the video.",
    )
    tries: int = Field(
        default=3,
        ge=1,
        le=20,
        description="With `best`: so many frames of a span are decoded, and the one of the best quality is kept.",
    )
    min_side: float = Field(
        default=16,
        ge=1,
        le=10000,
        description="Objects of which a side is shorter, in pixels of the source, are left out.",
    )
    grow: float = Field(
        default=1.0, ge=0.5, le=4, description="How much larger than an object's box the crop is, about its middle."
    )
    square: bool = Field(default=False, description="As wide as it is high: more of the frame, grey beyond its edges.")
    masked: bool = Field(
        default=False, description="What the object's mask leaves out is grey; for objects that have masks."
    )
    align: Literal["none", "rotated", "face"] = Field(
        default="none",
        description="rotated: turned upright, by the corners of a line of text (`quad`) or the longer axis of the "
        "mask. face: turned, moved and scaled so that five keypoints (eyes, nose, corners of the mouth) lie where "
        "networks for faces expect them, 112 x 112 pixels; faces without them are left out.",
    )
    max_side: int = Field(default=640, ge=32, le=4096, description="A longer crop is made smaller, to so many pixels.")
    pad: int = Field(default=114, ge=0, le=255, description="Grey level of what is not on the frame, or masked out.")
    max_crops: int = Field(
        default=10_000, ge=1, le=1_000_000, description="In a job, at most; those with the best merit are kept."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.best is not None and self.every is not None:
            raise ValueError("give `best` or `every`, not both")
        if self.align != "none" and (self.square or self.masked):
            raise ValueError(f"`square` and `masked` do not go with `align: {self.align}`")
        if self.align == "face" and self.grow != 1:
            raise ValueError("`grow` does not go with `align: face`, which says how much of the frame is cut out")
        return self

    @property
    def count(self) -> int:
        """Crops of a track, where they are chosen by track."""
        return self.best or _BEST


class Crops(CropStage[CropsOptions]):
    """Cut objects out of their frames once all frames are done: the best of each track, or every n-th frame's.

    Stages that look at pixels see these crops where their `of` names this stage; what they find out about the crops of
    one track is put to the vote. `cvpipe.quality` says what is best.
    """

    Options = CropsOptions
    example = """
        - {type: detect, name: cars, model: yolox-nano, classes: [car, truck, bus]}
        - {type: track, of: cars}
        - {type: crops, name: best, of: cars, best: 3}
        - {type: read_text, of: best}
        """

    _cv2: Any

    def __init__(self, options: CropsOptions) -> None:
        super().__init__(options)
        self._frames = 0
        self._windows: dict[int, dict[int, list[Shot]]] = {}
        self._chosen: list[Pick] = []

    @property
    def needs_tracks(self) -> bool:
        """The best of each track can be told only where there are tracks."""
        return self.options.every is None

    @property
    def is_turned(self) -> bool:
        """Where they are aligned."""
        return self.options.align != "none"

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are cut out."""
        return (self.options.of,)

    def open(self, tools: Tools) -> None:
        """Take OpenCV."""
        self._cv2 = tools.cv2

    def consider(self, record: FrameRecord, frame: tuple[int, int]) -> None:
        """Keep the objects that may become crops. Memory: `tries` for each of the best spans of each track."""
        if record.status != "ok":
            return
        is_due = self.options.every is not None and self._frames % self.options.every == 0
        self._frames += 1
        if self.options.every is not None and not is_due:
            return
        for place in np.flatnonzero(record.objects.of_stage(self.options.of) & ~record.objects.filled).tolist():
            track = int(record.objects.track[place])
            if (self.needs_tracks and track < 0) or not self._is_fit(record, place):
                continue
            alone = np.zeros(len(record.objects), bool)
            alone[place] = True
            values = {"objects": record.objects.where(alone), "values": {}}
            shot = Shot(_only(record, values), place, merit(record.objects, place, frame))
            if self.needs_tracks:
                self._keep(track, math.floor(record.time / self.options.apart_seconds + _SLACK), shot)
            else:
                self._chosen.append(Pick(self.name, (shot,)))
                if len(self._chosen) >= 2 * self.options.max_crops:
                    self._chosen = self._best_of(self._chosen)

    def picks(self) -> list[Pick]:
        """The chosen, in the order of `Pick.order`."""
        chosen = list(self._chosen)
        for windows in self._windows.values():
            chosen += [
                Pick(self.name, tuple(sorted(shots, key=lambda shot: shot.record.frame)))
                for shots in self._heaviest(windows, self.options.count).values()
            ]
        return sorted(self._best_of(chosen), key=lambda pick: pick.order)

    def cut(self, image: Image, shot: Shot) -> Cutting | None:
        """The object as the options say."""
        options, objects = self.options, shot.record.objects
        outline = self._outline(shot)
        if outline is not None:
            size = (112, 112) if options.align == "face" else None
            return cut_turned(image, outline, self._cv2, size=size, max_side=options.max_side, pad=options.pad)
        return cut_upright(
            image,
            objects.box[0],
            self._cv2,
            mask=objects.mask[0] if options.masked else None,
            grow=options.grow,
            square=options.square,
            max_side=options.max_side,
            pad=options.pad,
        )

    def _outline(self, shot: Shot) -> Floats | None:
        objects = shot.record.objects
        points = objects.keypoints[0]
        if self.options.align == "face" and points is not None:
            return face_outline(points)
        if self.options.align == "rotated":
            return outline_of(objects, self.options.grow)
        return None

    def _is_fit(self, record: FrameRecord, place: int) -> bool:
        if self.when is not None and not self.when.holds_for(record, place):
            return False
        x1, y1, x2, y2 = record.objects.box[place].tolist()
        points = record.objects.keypoints[place]
        if self.options.align == "face" and (points is None or len(points) != _FACE_POINTS):
            return False
        return min(x2 - x1, y2 - y1) >= self.options.min_side

    def _keep(self, track: int, window: int, shot: Shot) -> None:
        windows = self._windows.setdefault(track, {})
        if window not in windows and len(windows) > 4 * self.options.count:
            windows = self._windows[track] = self._heaviest(windows, self.options.count)
        shots = [*windows.get(window, []), shot]
        # Where two are equal the earlier one stays: records come in order, and sorting is stable.
        windows[window] = sorted(shots, key=lambda one: -one.merit)[: self.options.tries]

    @staticmethod
    def _heaviest(windows: dict[int, list[Shot]], count: int) -> dict[int, list[Shot]]:
        """The spans with the best shots, the earlier ones where they are equal."""
        kept = sorted(windows, key=lambda window: (-windows[window][0].merit, window))[:count]
        return {window: windows[window] for window in kept}

    def _best_of(self, picks: Sequence[Pick]) -> list[Pick]:
        return sorted(picks, key=lambda pick: (-max(s.merit for s in pick.shots), pick.order))[: self.options.max_crops]


def _only(record: FrameRecord, changes: dict[str, Any]) -> FrameRecord:
    return FrameRecord(record.frame, record.pts, record.time, degraded=record.degraded, **changes)
