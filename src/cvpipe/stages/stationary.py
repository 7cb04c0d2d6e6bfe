"""`stationary`: what stands still, and what somebody has left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cvpipe.events import Moment
from cvpipe.results import FrameRecord
from cvpipe.shapes import gaps
from cvpipe.sightings import FORGET_SECONDS, Followed, Sighting, sightings
from cvpipe.spells import Spells
from cvpipe.stages import FollowingStage, StageOptions


class StationaryOptions(StageOptions):
    """Options of `stationary`."""

    type: Literal["stationary"] = "stationary"
    of: Followed = None
    seconds: float = Field(default=10, ge=0, le=86400, description="So long without moving is standing still.")
    radius: float = Field(
        default=0.15,
        gt=0,
        le=10,
        description="How far the middle of a box may be from where it came to rest, as a share of its longer side.",
    )
    owners: tuple[str, ...] = Field(
        default=(),
        max_length=32,
        description="Labels of those who leave things behind, such as `person`: other things that stand still with "
        "none of them near are `abandoned`.",
    )
    near: float = Field(
        default=1.0, ge=0, le=100, description="An owner is near within so many times its own height, from box to box."
    )
    abandoned_seconds: float = Field(
        default=30, ge=0, le=86400, description="So long without an owner near is being abandoned."
    )
    gap_seconds: float = Field(default=2, ge=0, le=3600, description="Unseen for so long, it still stands there.")


@dataclass(slots=True)
class _Rest:
    """Where a track rests. since: when it came there. attended: when an owner was last near; None: never."""

    x: float
    y: float
    since: Moment
    last: Moment
    attended: Moment | None = None


class Stationary(FollowingStage[StationaryOptions]):
    """Find tracked objects that stand still, and things that were left behind.

    The value of an object is `{"seconds", "stationary", "abandoned"}`: for how long it has not moved, and what that
    makes of it. Events: `stationary` and `abandoned`, from when on it has held up to the end of it.
    """

    Options = StationaryOptions
    event_kinds = ("stationary", "abandoned")
    example = """
    - {type: detect, name: things, model: yolox-nano, classes: [person, backpack, suitcase]}
    - {type: track, of: things}
    - {type: stationary, of: things, seconds: 20, owners: [person]}
    """

    def __init__(self, options: StationaryOptions) -> None:
        super().__init__(options)
        self._rests: dict[int, _Rest] = {}
        self._still = Spells(least_seconds=options.seconds, gap_seconds=options.gap_seconds)
        self._left = Spells(least_seconds=options.abandoned_seconds, gap_seconds=options.gap_seconds)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with what each object is at."""
        if not self.looked(record):
            return record
        now = Moment.of(record)
        seen = sightings(record, self.options.of, anchor="center")
        owners = [one for one in seen if one.label in self.options.owners]
        told = {one.place: self._look(one, owners) for one in seen}
        self._tell_over(now)
        self._rests = {t: rest for t, rest in self._rests.items() if now.time - rest.last.time <= FORGET_SECONDS}
        return replace(record, objects=record.objects.with_values(self.name, told)) if told else record

    def end(self) -> None:
        """Tell of what still stands there."""
        for spell in self._still.rest():
            self.tell(spell.event("stationary", self.name, is_over=False))
        for spell in self._left.rest():
            self.tell(spell.event("abandoned", self.name, is_over=False))

    def state(self) -> Mapping[str, Any]:
        """Where each track rests, and what holds."""
        rests = [[t, r.x, r.y, r.since, r.last, r.attended] for t, r in self._rests.items()]
        return {"rests": rests, "still": self._still.state(), "left": self._left.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._rests = {
            track: _Rest(x, y, Moment(*since), Moment(*last), None if attended is None else Moment(*attended))
            for track, x, y, since, last, attended in state["rests"]
        }
        self._still.restore(state["still"])
        self._left.restore(state["left"])

    def _look(self, seen: Sighting, owners: Sequence[Sighting]) -> dict[str, Any]:
        now, (x, y) = seen.moment, seen.point.tolist()
        rest = self._rests.get(seen.track)
        reach = self.options.radius * float(max(seen.box[2] - seen.box[0], seen.box[3] - seen.box[1]))
        is_back = rest is not None and now.time - rest.last.time <= self.options.gap_seconds
        if rest is None or not is_back or np.hypot(x - rest.x, y - rest.y) > reach:
            rest = self._rests[seen.track] = _Rest(x, y, now, now)
        rest.last = now
        seconds = now.time - rest.since.time
        key = f"{seen.track}@{rest.since.frame}"
        is_still = seconds >= self.options.seconds
        self._still.hold(key, now, (seen.row,), merit=seen.score, since=rest.since)
        is_left = False
        if self.options.owners and seen.label not in self.options.owners:
            if self._is_near(seen, owners):
                rest.attended = now
            else:
                alone = rest.attended or rest.since
                is_left = is_still and now.time - alone.time >= self.options.abandoned_seconds
                if is_still:
                    self._left.hold(f"{key}@{alone.frame}", now, (seen.row,), merit=seen.score, since=alone)
        return {"seconds": round(seconds, 3), "stationary": is_still, "abandoned": is_left}

    def _is_near(self, seen: Sighting, owners: Sequence[Sighting]) -> bool:
        if not owners:
            return False
        boxes = np.array([owner.box for owner in owners])
        heights = boxes[:, 3] - boxes[:, 1]
        return bool((gaps(seen.box[None], boxes)[0] <= self.options.near * heights).any())

    def _tell_over(self, now: Moment) -> None:
        for spell in self._still.over(now):
            self.tell(spell.event("stationary", self.name, is_over=True))
        for spell in self._left.over(now):
            self.tell(spell.event("abandoned", self.name, is_over=True))
