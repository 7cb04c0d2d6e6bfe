"""`path_deviation`: who strays from a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.events import Moment
from cvpipe.placing import Placing, WorldCamera, WorldUnits, check_placed
from cvpipe.results import FrameRecord
from cvpipe.shapes import Anchor, Point, Shape, distance_to_path
from cvpipe.sightings import Followed, sightings
from cvpipe.spells import Spells
from cvpipe.stages import FollowingStage, StageOptions, Tools


class PathDeviationOptions(StageOptions):
    """Options of `path_deviation`."""

    type: Literal["path_deviation"] = "path_deviation"
    of: Followed = None
    path: tuple[Point, ...] = Field(
        min_length=2, max_length=200, description="Corners of the path, x and y each, in order."
    )
    units: WorldUnits = "pixels"
    camera: WorldCamera = None
    distance: float = Field(
        gt=0,
        le=100_000,
        description="Who is farther from the path strays; with `relative`, a share of the frame's height.",
    )
    anchor: Anchor = Field(default="bottom_center", description="Point of a box that has to be on the path.")
    seconds: float = Field(default=1, ge=0, le=3600, description="Who strays for less is not told of.")
    gap_seconds: float = Field(default=1, ge=0, le=3600, description="On the path, or unseen, for so long ends it.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_placed(self.path, self.units, self.camera)
        return self

    @property
    def needs_camera(self) -> bool:
        """For metres."""
        return self.units == "metres"


class PathDeviation(FollowingStage[PathDeviationOptions]):
    """Measure how far tracked objects are from a path, and tell who strays from it.

    The value of an object is its distance in pixels. Events: `path_deviation`; the evidence is the frame on which it is
    farthest away. With `units: metres` and a calibrated camera the path lies on the ground, and distances are metres.
    """

    Options = PathDeviationOptions
    event_kinds = ("path_deviation",)
    example = """
    - {type: detect, name: cars, model: yolox-nano, classes: [car]}
    - {type: track, of: cars}
    - {type: path_deviation, of: cars, path: [[0, 300], [320, 260], [640, 300]], distance: 40}
    """

    _placed: Placing

    def __init__(self, options: PathDeviationOptions) -> None:
        super().__init__(options)
        self._path: npt.NDArray[np.float64] = np.zeros((0, 2))
        self._strays = Spells(least_seconds=options.seconds, gap_seconds=options.gap_seconds)

    def shapes(self) -> Sequence[Shape]:
        """The path."""
        return [Shape(self.name, self.name, self._placing().outline(self.options.path, is_closed=False), False)]

    def open(self, tools: Tools) -> None:  # noqa: ARG002 - nothing but arithmetic
        """Place the path in the picture, or on the ground. Raises: InvalidPipeline, InvalidRequest (camera)."""
        self._placed = self._placing()
        self._placed.open(self.name)
        self._path = self._placed.corners(self.options.path)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with how far each object is from the path."""
        if not self.looked(record):
            return record
        options, now, told = self.options, Moment.of(record), {}
        reach = self._placed.length(options.distance)
        for seen in self._placed.on_ground(sightings(record, options.of, anchor=options.anchor)):
            away = distance_to_path(seen.point, self._path)
            told[seen.place] = round(away, 2)
            if away > reach:
                values = {"distance": round(away, 2)}
                self._strays.hold(str(seen.track), now, (seen.row,), merit=away, values=values)
        for spell in self._strays.over(now):
            self.tell(spell.event("path_deviation", self.name, is_over=True))
        return replace(record, objects=record.objects.with_values(self.name, told)) if told else record

    def end(self) -> None:
        """Tell of who still strays."""
        for spell in self._strays.rest():
            self.tell(spell.event("path_deviation", self.name, is_over=False))

    def state(self) -> Mapping[str, Any]:
        """Who strays, since when."""
        return self._strays.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._strays.restore(state)

    def _placing(self) -> Placing:
        return Placing(self.options.units, self.options.camera, self.size)
