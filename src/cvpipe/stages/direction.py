"""`direction`: where tracked objects are heading, how fast, and who goes the wrong way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import Field

from cvpipe.events import Moment
from cvpipe.results import FrameRecord
from cvpipe.shapes import Anchor
from cvpipe.sightings import FORGET_SECONDS, Followed, Sighting, sightings
from cvpipe.spells import Spells
from cvpipe.stages import FollowingStage, StageOptions

_TOWARDS: Final = ("up", "up-right", "right", "down-right", "down", "down-left", "left", "up-left")


class DirectionOptions(StageOptions):
    """Options of `direction`."""

    type: Literal["direction"] = "direction"
    of: Followed = None
    anchor: Anchor = Field(default="center", description="Point of a box that moves.")
    window_seconds: float = Field(
        default=1, gt=0, le=60, description="Direction and speed are those over so much time before a frame."
    )
    min_distance: float = Field(
        default=5, ge=0, le=10_000, description="Who has moved by fewer pixels in that time has no direction."
    )
    expected: float | None = Field(
        default=None,
        ge=0,
        lt=360,
        description="The right way in degrees, clockwise: 0 is up in the picture, 90 right, 180 down, 270 left. Who "
        "goes another way is told: `wrong_way`.",
    )
    tolerance: float = Field(
        default=90, gt=0, lt=180, description="How far off the right way is still right, in degrees."
    )
    seconds: float = Field(default=1, ge=0, le=3600, description="So long must somebody go the wrong way to be told.")
    gap_seconds: float = Field(
        default=1, ge=0, le=3600, description="So long without going the wrong way, or unseen, ends it."
    )


class Direction(FollowingStage[DirectionOptions]):
    """Tell where tracked objects are heading in the picture, how fast they are, and who goes the wrong way.

    The value of an object is `{"angle", "towards", "speed"}`: degrees clockwise from up, one of eight words, pixels per
    second; `angle` and `towards` are null where it hardly moves. Events: `wrong_way`.
    """

    Options = DirectionOptions
    event_kinds = ("wrong_way",)
    example = """
    - {type: detect, name: cars, model: yolox-nano, classes: [car, truck, bus]}
    - {type: track, of: cars}
    - {type: direction, of: cars, expected: 90}
    """

    def __init__(self, options: DirectionOptions) -> None:
        super().__init__(options)
        self._ways: dict[int, list[tuple[float, float, float]]] = {}
        self._wrong = Spells(least_seconds=options.seconds, gap_seconds=options.gap_seconds)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with each object's direction."""
        if not self.looked(record):
            return record
        told = {seen.place: self._look(seen) for seen in sightings(record, self.options.of, anchor=self.options.anchor)}
        for spell in self._wrong.over(Moment.of(record)):
            self.tell(spell.event("wrong_way", self.name, is_over=True))
        self._ways = {t: way for t, way in self._ways.items() if record.time - way[-1][0] <= FORGET_SECONDS}
        return replace(record, objects=record.objects.with_values(self.name, told)) if told else record

    def end(self) -> None:
        """Tell of who still goes the wrong way."""
        for spell in self._wrong.rest():
            self.tell(spell.event("wrong_way", self.name, is_over=False))

    def state(self) -> Mapping[str, Any]:
        """The last bit of the way of each track."""
        return {"ways": list(self._ways.items()), "wrong": self._wrong.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._ways = {track: [(t, x, y) for t, x, y in way] for track, way in state["ways"]}
        self._wrong.restore(state["wrong"])

    def _look(self, seen: Sighting) -> dict[str, Any]:
        now, (x, y) = seen.moment, seen.point.tolist()
        way = self._ways.setdefault(seen.track, [])
        way.append((now.time, x, y))
        begin = now.time - self.options.window_seconds
        while len(way) > 1 and way[0][0] < begin - 1e-6:  # times are told to the microsecond
            way.pop(0)
        then, x0, y0 = way[0]
        across, down = x - x0, y - y0
        distance = math.hypot(across, down)
        speed = round(distance / (now.time - then), 2) if now.time > then else 0.0
        if not distance or distance < self.options.min_distance:
            return {"angle": None, "towards": None, "speed": speed}
        angle = math.degrees(math.atan2(across, -down)) % 360
        if self.options.expected is not None:
            off = abs((angle - self.options.expected + 180) % 360 - 180)
            if off > self.options.tolerance:
                values = {"angle": round(angle, 1)}
                self._wrong.hold(str(seen.track), now, (seen.row,), merit=off, values=values)
        towards = _TOWARDS[round(angle / 45) % 8]
        return {"angle": round(angle, 1) % 360, "towards": towards, "speed": speed}
