"""`line_zone`: which tracked objects cross a line, and in which direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.events import Event
from cvpipe.placing import Placing, WorldCamera, WorldUnits, check_placed
from cvpipe.results import FrameRecord
from cvpipe.shapes import Anchor, Line, Shape, check_names, meets, side
from cvpipe.sightings import FORGET_SECONDS, Followed, Sighting, sightings
from cvpipe.stages import FollowingStage, StageOptions, Tools


class LineZoneOptions(StageOptions):
    """Options of `line_zone`."""

    type: Literal["line_zone"] = "line_zone"
    of: Followed = None
    lines: tuple[Line, ...] = Field(min_length=1, max_length=32, description="Lines: `name`, `start`, `end`.")
    units: WorldUnits = "pixels"
    camera: WorldCamera = None
    anchor: Anchor = Field(default="bottom_center", description="Point of a box that has to cross.")
    margin: float = Field(
        default=0,
        ge=0,
        le=1000,
        description="Pixels (or metres) beyond the line at which it is crossed: who trembles on the line is counted "
        "once.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_names(self.lines)
        check_placed((point for line in self.lines for point in (line.start, line.end)), self.units, self.camera)
        return self

    @property
    def needs_camera(self) -> bool:
        """For metres."""
        return self.units == "metres"


@dataclass(slots=True)
class _Stand:
    """Where a track was last seen clearly on one side of a line. time: when it was seen at all."""

    point: npt.NDArray[np.float64]
    is_right: bool
    time: float


class LineZone(FollowingStage[LineZoneOptions]):
    """Count tracked objects that cross lines: in, out, and by class.

    `in` is from the left to the right side of a line as one looks from its `start` to its `end`; `out` is back. The
    value of a frame has for each line how many have crossed it up to there. Each crossing is an event, `line_crossed`.
    With `units: metres` and a calibrated camera lines lie on the ground.
    """

    Options = LineZoneOptions
    event_kinds = ("line_crossed",)
    example = """
    - {type: detect, name: cars, model: yolox-nano, classes: [car, truck, bus]}
    - {type: track, of: cars}
    - {type: line_zone, of: cars, units: relative, lines: [{name: gate, start: [0, 0.6], end: [1, 0.6]}]}
    """

    _placed: Placing

    def __init__(self, options: LineZoneOptions) -> None:
        super().__init__(options)
        self._ends: dict[str, npt.NDArray[np.float64]] = {}
        self._stands: dict[tuple[str, int], _Stand] = {}
        self._counts: dict[str, dict[str, list[int]]] = {line.name: {} for line in options.lines}

    def shapes(self) -> Sequence[Shape]:
        """The lines."""
        placing = self._placing()
        return [
            Shape(self.name, line.name, placing.outline((line.start, line.end), is_closed=False), False)
            for line in self.options.lines
        ]

    def open(self, tools: Tools) -> None:  # noqa: ARG002 - nothing but arithmetic
        """Place the lines in the picture, or on the ground. Raises: InvalidPipeline, InvalidRequest (camera)."""
        self._placed = self._placing()
        self._placed.open(self.name)
        self._ends = {line.name: self._placed.corners((line.start, line.end)) for line in self.options.lines}

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with the counts up to it."""
        if not self.looked(record):
            return record
        for seen in self._placed.on_ground(sightings(record, self.options.of, anchor=self.options.anchor)):
            for line, ends in self._ends.items():
                self._follow(line, ends, seen)
        self._stands = {key: stand for key, stand in self._stands.items() if record.time - stand.time <= FORGET_SECONDS}
        return replace(record, values={**record.values, self.name: self._told_counts()})

    def state(self) -> Mapping[str, Any]:
        """Where each track stands, and the counts."""
        stands = [
            [line, track, *stand.point.tolist(), stand.is_right, stand.time]
            for (line, track), stand in self._stands.items()
        ]
        return {"stands": stands, "counts": self._counts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._stands = {
            (line, track): _Stand(np.array([x, y]), is_right, time)
            for line, track, x, y, is_right, time in state["stands"]
        }
        self._counts = {line: {label: list(n) for label, n in of.items()} for line, of in state["counts"].items()}

    def _placing(self) -> Placing:
        return Placing(self.options.units, self.options.camera, self.size)

    def _follow(self, line: str, ends: npt.NDArray[np.float64], seen: Sighting) -> None:
        start, end = ends
        key = (line, seen.track)
        before = self._stands.get(key)
        beyond = side(seen.point, start, end) * self._placed.handed
        if before is not None:
            before.time = seen.moment.time
        if abs(beyond) <= self.options.margin:
            return
        is_right = beyond > 0
        if before is not None and before.is_right != is_right and meets(before.point, seen.point, start, end):
            self._count(line, "in" if is_right else "out", seen)
        self._stands[key] = _Stand(seen.point, is_right, seen.moment.time)

    def _count(self, line: str, direction: str, seen: Sighting) -> None:
        self._counts[line].setdefault(seen.label, [0, 0])[direction == "out"] += 1
        moment = seen.moment
        values = {"line": line, "direction": direction}
        self.tell(Event("line_crossed", self.name, moment, moment, moment, (seen.row,), values))

    def _told_counts(self) -> dict[str, Any]:
        return {
            line: {
                "in": sum(n for n, _ in by_label.values()),
                "out": sum(n for _, n in by_label.values()),
                "by_class": {label: {"in": n, "out": m} for label, (n, m) in sorted(by_label.items())},
            }
            for line, by_label in self._counts.items()
        }
