"""`proximity`: which tracked objects come near each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cvpipe.events import Moment
from cvpipe.placing import Placing, WorldCamera, WorldUnit, check_placed
from cvpipe.results import FrameRecord
from cvpipe.shapes import Anchor, gaps
from cvpipe.sightings import Followed, Sighting, sightings
from cvpipe.spells import Spells
from cvpipe.stages import FollowingStage, StageOptions, Tools

_MOST_TOLD: Final = 50


class ProximityOptions(StageOptions):
    """Options of `proximity`."""

    type: Literal["proximity"] = "proximity"
    of: Followed = None
    between: tuple[str, str] | None = Field(
        default=None, description="Labels of the one and the other, `[person, car]`. Default: whoever."
    )
    distance: float = Field(gt=0, le=100_000, description="Near is at most so far.")
    units: WorldUnit = Field(
        default="pixels",
        description="Of `distance`: pixels of the displayed source frame, shares of its height, or metres on the "
        "ground before `camera`.",
    )
    camera: WorldCamera = None
    measure: Literal["boxes", "anchors"] | None = Field(
        default=None,
        description="From edge to edge of the boxes (0 where they overlap), or from anchor to anchor. Default: boxes; "
        "with `metres` anchors, as a box has no edges on the ground.",
    )
    anchor: Anchor = Field(default="bottom_center", description="Point of a box that `anchors` measures from.")
    seconds: float = Field(default=0, ge=0, le=3600, description="Who is near for less is not told of.")
    gap_seconds: float = Field(default=1, ge=0, le=3600, description="Apart, or unseen, for so long ends it.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_placed((), self.units, self.camera)
        if self.units == "metres" and self.measure == "boxes":
            raise ValueError("`measure: boxes` is for the picture: on the ground, from anchor to anchor is measured")
        return self

    @property
    def needs_camera(self) -> bool:
        """For metres."""
        return self.units == "metres"


class Proximity(FollowingStage[ProximityOptions]):
    """Find pairs of tracked objects that are near each other, in the picture or on the ground.

    The value of a frame is `{"pairs": [[track, track, distance], ...]}` in pixels (or metres), the nearest first, at
    most 50. Events: `proximity` of each pair; the evidence is the frame on which they are nearest. What is above the
    horizon is near nobody in metres; how sure such a distance is, `to_world` says.
    """

    Options = ProximityOptions
    event_kinds = ("proximity",)
    example = """
    - {type: detect, name: things, model: yolox-nano, classes: [person, car]}
    - {type: track, of: things}
    - {type: proximity, of: things, between: [person, car], distance: 40, seconds: 2}
    """

    _placed: Placing

    def __init__(self, options: ProximityOptions) -> None:
        super().__init__(options)
        self._near = Spells(least_seconds=options.seconds, gap_seconds=options.gap_seconds)

    def open(self, tools: Tools) -> None:  # noqa: ARG002 - nothing but arithmetic
        """Calibrate the camera, for metres. Raises: InvalidPipeline, InvalidRequest."""
        self._placed = Placing(self.options.units, self.options.camera, self.size)
        self._placed.open(self.name)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with the pairs that are near."""
        if not self.looked(record):
            return record
        options, now = self.options, Moment.of(record)
        seen = sorted(
            self._placed.on_ground(sightings(record, options.of, anchor=options.anchor)), key=lambda one: one.track
        )  # so that a pair is the same whatever the order of the objects
        reach = self._placed.length(options.distance)
        pairs: list[tuple[float, int, int]] = []
        for (i, one), (j, other) in combinations(enumerate(seen), 2):
            if not self._is_pair(one, other):
                continue
            apart = self._apart(one, other)
            if apart <= reach:
                pairs.append((round(apart, 2), i, j))
                key, values = f"{one.track}-{other.track}", {"distance": round(apart, 2)}
                self._near.hold(key, now, (one.row, other.row), merit=-apart, values=values)
        for spell in self._near.over(now):
            self.tell(spell.event("proximity", self.name, is_over=True))
        told = [[seen[i].track, seen[j].track, apart] for apart, i, j in sorted(pairs)[:_MOST_TOLD]]
        return replace(record, values={**record.values, self.name: {"pairs": told}})

    def end(self) -> None:
        """Tell of who is still near."""
        for spell in self._near.rest():
            self.tell(spell.event("proximity", self.name, is_over=False))

    def state(self) -> Mapping[str, Any]:
        """Who is near whom, since when."""
        return self._near.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._near.restore(state)

    def _is_pair(self, one: Sighting, other: Sighting) -> bool:
        wanted = self.options.between
        return wanted is None or wanted in ((one.label, other.label), (other.label, one.label))

    def _apart(self, one: Sighting, other: Sighting) -> float:
        if self.options.measure != "anchors" and self.options.units != "metres":
            return float(gaps(one.box[None], other.box[None])[0, 0])
        return float(np.hypot(*(one.point - other.point)))
