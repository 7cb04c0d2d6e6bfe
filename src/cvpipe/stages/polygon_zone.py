"""`polygon_zone`: who is in an area, since when, and when there are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.events import Event, Moment
from cvpipe.placing import Placing, WorldCamera, WorldUnits, check_placed
from cvpipe.results import FrameRecord
from cvpipe.shapes import Anchor, Polygon, Shape, check_names, inside
from cvpipe.sightings import Sighting, sightings
from cvpipe.stages import SequenceStage, StageOptions, Tools


class Zone(Polygon):
    """An area, and how many it holds."""

    most: int | None = Field(
        default=None, ge=0, le=100_000, description="More objects than this are too many: `zone_overcrowded`."
    )


class PolygonZoneOptions(StageOptions):
    """Options of `polygon_zone`."""

    type: Literal["polygon_zone"] = "polygon_zone"
    of: str | None = Field(default=None, description="Name of the stage whose objects to watch. Default: all objects.")
    zones: tuple[Zone, ...] = Field(
        min_length=1,
        max_length=32,
        description="Zones: `name`, `polygon` (corners x, y), and `most` if it has a limit.",
    )
    units: WorldUnits = "pixels"
    camera: WorldCamera = None
    anchor: Anchor = Field(default="bottom_center", description="Point of a box that has to be inside.")
    min_seconds: float = Field(
        default=0, ge=0, le=3600, description="Who has been inside for so long has entered; who passes by has not."
    )
    leave_seconds: float = Field(
        default=1, ge=0, le=3600, description="Who has been outside, or unseen, for longer has left."
    )
    overcrowded_seconds: float = Field(
        default=0, ge=0, le=3600, description="So long must there be more than `most` to be told."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_names(self.zones)
        check_placed((point for zone in self.zones for point in zone.polygon), self.units, self.camera)
        return self

    @property
    def needs_camera(self) -> bool:
        """For metres."""
        return self.units == "metres"


@dataclass(slots=True)
class _Stay:
    """A track in a zone. since, last: when it was first and last seen inside. best: when it is seen best.

    row, last_row: who it is, as at `best` and at `last`.
    """

    since: Moment
    last: Moment
    best: Moment
    score: float
    row: Mapping[str, Any]
    last_row: Mapping[str, Any]
    has_entered: bool = False


@dataclass(slots=True)
class _Crowd:
    """Too many in a zone. peak: the moment with the most, and who they are."""

    since: Moment
    last: Moment
    peak: Moment
    rows: tuple[Mapping[str, Any], ...]


class PolygonZone(SequenceStage[PolygonZoneOptions]):
    """Watch areas: how many are inside, who enters and leaves, how long each stays, and overcrowding.

    The value of a frame has for each zone `count`, `entered` and `left` up to there. The value of an object has for
    each zone that it is in the seconds that it has been there; 0 where it is not tracked. Events: `zone_entered`,
    `zone_left`, `zone_dwell` (the whole stay), `zone_overcrowded`. With `units: metres` and a calibrated camera zones
    lie on the ground.
    """

    Options = PolygonZoneOptions
    event_kinds = ("zone_entered", "zone_left", "zone_dwell", "zone_overcrowded")
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: track, of: people}
    - {type: polygon_zone, of: people, zones: [{name: door, polygon: [[300, 90], [420, 90], [420, 300]], most: 4}]}
    """

    _placed: Placing

    def __init__(self, options: PolygonZoneOptions) -> None:
        super().__init__(options)
        self._polygons: dict[str, npt.NDArray[np.float64]] = {}
        self._stays: dict[tuple[str, int], _Stay] = {}
        self._crowds: dict[str, _Crowd] = {}
        self._totals: dict[str, list[int]] = {zone.name: [0, 0] for zone in options.zones}

    @property
    def finds_objects(self) -> bool:
        """It watches those of others."""
        return False

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of its zones."""
        return tuple(zone.name for zone in self.options.zones)

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are watched."""
        return () if self.options.of is None else (self.options.of,)

    def shapes(self) -> Sequence[Shape]:
        """The zones."""
        placing = self._placing()
        return [
            Shape(self.name, zone.name, placing.outline(zone.polygon, is_closed=True), True)
            for zone in self.options.zones
        ]

    def open(self, tools: Tools) -> None:  # noqa: ARG002 - nothing but arithmetic
        """Place the zones in the picture, or on the ground. Raises: InvalidPipeline, InvalidRequest (camera)."""
        self._placed = self._placing()
        self._placed.open(self.name)
        self._polygons = {zone.name: self._placed.corners(zone.polygon) for zone in self.options.zones}

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with who is inside."""
        if not self.looked(record):
            return record
        options, moment = self.options, Moment.of(record)
        seen = self._placed.on_ground(sightings(record, options.of, anchor=options.anchor, is_tracked=False))
        points = np.array([one.point for one in seen]).reshape(-1, 2)
        told: dict[int, dict[str, float]] = {}
        counts: dict[str, int] = {}
        for zone in options.zones:
            within = [seen[n] for n in np.flatnonzero(inside(points, self._polygons[zone.name])).tolist()]
            for one in within:
                told.setdefault(one.place, {})[zone.name] = self._stay(zone.name, one)
            counts[zone.name] = len(within)
            self._watch_crowd(zone, within, moment)
        self._let_go(moment)
        values = {
            name: {"count": count, "entered": self._totals[name][0], "left": self._totals[name][1]}
            for name, count in counts.items()
        }
        objects = record.objects.with_values(self.name, told) if told else record.objects
        return replace(record, objects=objects, values={**record.values, self.name: values})

    def end(self) -> None:
        """Tell of those who are still there."""
        for (zone, _), stay in self._stays.items():
            if stay.has_entered:
                self._tell_dwell(zone, stay, is_over=False)
        for zone in self.zones:
            self._end_crowd(zone, is_over=False)
        self._stays, self._crowds = {}, {}

    def state(self) -> Mapping[str, Any]:
        """Who is where, since when."""
        return {
            "stays": [[zone, track, asdict(stay)] for (zone, track), stay in self._stays.items()],
            "crowds": {zone: asdict(crowd) for zone, crowd in self._crowds.items()},
            "totals": self._totals,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._stays = {
            (zone, track): _Stay(**{**stay, **_moments(stay, "since", "last", "best")})
            for zone, track, stay in state["stays"]
        }
        self._crowds = {
            zone: _Crowd(**{**crowd, **_moments(crowd, "since", "last", "peak"), "rows": tuple(crowd["rows"])})
            for zone, crowd in state["crowds"].items()
        }
        self._totals = {zone: list(total) for zone, total in state["totals"].items()}

    def _placing(self) -> Placing:
        return Placing(self.options.units, self.options.camera, self.size)

    def _stay(self, zone: str, seen: Sighting) -> float:
        """Note that an object is inside; returns for how many seconds it has been."""
        if seen.track < 0:
            return 0.0
        now = seen.moment
        stay = self._stays.setdefault((zone, seen.track), _Stay(now, now, now, -1, seen.row, seen.row))
        stay.last, stay.last_row = now, seen.row
        if seen.score > stay.score:
            stay.best, stay.score, stay.row = now, seen.score, seen.row
        if not stay.has_entered and now.time - stay.since.time >= self.options.min_seconds:
            stay.has_entered = True
            self._totals[zone][0] += 1
            self.tell(Event("zone_entered", self.name, stay.since, stay.since, now, (seen.row,), {"zone": zone}))
        return round(now.time - stay.since.time, 3)

    def _let_go(self, now: Moment) -> None:
        """Those who have left."""
        gone = [key for key, stay in self._stays.items() if now.time - stay.last.time > self.options.leave_seconds]
        for key in gone:
            zone, stay = key[0], self._stays.pop(key)
            if stay.has_entered:
                self._totals[zone][1] += 1
                self.tell(
                    Event("zone_left", self.name, stay.last, stay.last, stay.last, (stay.last_row,), {"zone": zone})
                )
                self._tell_dwell(zone, stay, is_over=True)

    def _tell_dwell(self, zone: str, stay: _Stay, *, is_over: bool) -> None:
        values = {"zone": zone, "seconds": round(stay.last.time - stay.since.time, 3)}
        self.tell(Event("zone_dwell", self.name, stay.since, stay.last, stay.best, (stay.row,), values, is_over))

    def _watch_crowd(self, zone: Zone, within: Sequence[Sighting], now: Moment) -> None:
        if zone.most is None:
            return
        if len(within) <= zone.most:
            self._end_crowd(zone.name, is_over=True)
            return
        rows = tuple(one.row for one in within)
        crowd = self._crowds.setdefault(zone.name, _Crowd(now, now, now, rows))
        crowd.last = now
        if len(rows) > len(crowd.rows):
            crowd.peak, crowd.rows = now, rows

    def _end_crowd(self, zone: str, *, is_over: bool) -> None:
        crowd = self._crowds.pop(zone, None)
        if crowd is None or crowd.last.time - crowd.since.time < self.options.overcrowded_seconds:
            return
        values = {"zone": zone, "peak": len(crowd.rows)}
        self.tell(
            Event("zone_overcrowded", self.name, crowd.since, crowd.last, crowd.peak, crowd.rows, values, is_over)
        )


def _moments(state: Mapping[str, Any], *names: str) -> dict[str, Moment]:
    return {name: Moment(*state[name]) for name in names}
