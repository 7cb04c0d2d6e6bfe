"""`dwell`: how long each tracked object has been in view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from cvpipe.events import Moment
from cvpipe.results import FrameRecord
from cvpipe.sightings import Followed, sightings
from cvpipe.spells import Spells
from cvpipe.stages import FollowingStage, StageOptions


class DwellOptions(StageOptions):
    """Options of `dwell`."""

    type: Literal["dwell"] = "dwell"
    of: Followed = None
    seconds: float = Field(default=0, ge=0, le=86400, description="Who stays shorter is not told of.")
    leave_seconds: float = Field(default=2, ge=0, le=3600, description="Who is unseen for longer has left.")


class Dwell(FollowingStage[DwellOptions]):
    """Measure how long each tracked object has been in view.

    The value of an object is the seconds since it was first seen. Events: `dwell`, the whole stay; the evidence is the
    frame on which it is found most surely.
    """

    Options = DwellOptions
    event_kinds = ("dwell",)
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: track, of: people}
    - {type: dwell, of: people, seconds: 30}
    """

    def __init__(self, options: DwellOptions) -> None:
        super().__init__(options)
        self._stays = Spells(least_seconds=options.seconds, gap_seconds=options.leave_seconds)

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with how long each object has been there."""
        if not self.looked(record):
            return record
        now, told = Moment.of(record), {}
        for seen in sightings(record, self.options.of):
            told[seen.place] = self._stays.hold(str(seen.track), now, (seen.row,), merit=seen.score).seconds
        for spell in self._stays.over(now):
            self.tell(spell.event("dwell", self.name, is_over=True))
        return replace(record, objects=record.objects.with_values(self.name, told)) if told else record

    def end(self) -> None:
        """Tell of who is still there."""
        for spell in self._stays.rest():
            self.tell(spell.event("dwell", self.name, is_over=False))

    def state(self) -> Mapping[str, Any]:
        """Who is there, since when."""
        return self._stays.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._stays.restore(state)
