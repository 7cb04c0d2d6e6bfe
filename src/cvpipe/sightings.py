"""Sightings: tracked objects on a frame, as stages that follow them look at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.events import Moment, participants
from cvpipe.results import FrameRecord
from cvpipe.shapes import anchors

Followed = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Name of the stage whose tracked objects to look at. Default: all tracked objects.",
    ),
]

FORGET_SECONDS = 120.0
"""A track unseen for so long does not come back: what a stage knows of it is forgotten."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object on a frame.

    place: where in the record's objects. track: its number; -1 where it is not tracked. point: (2,) float64, its anchor
    in pixels of the displayed source frame. row: who it is, as events name who takes part.
    """

    place: int
    track: int
    label: str
    score: float
    box: npt.NDArray[np.float32]
    point: npt.NDArray[np.float64]
    moment: Moment
    row: Mapping[str, Any]


def sightings(
    record: FrameRecord, of: str | None, *, anchor: str = "bottom_center", is_tracked: bool = True
) -> list[Sighting]:
    """The objects of a stage on a frame (None: of all stages), in order; only tracked ones unless told otherwise."""
    objects = record.objects
    chosen = np.ones(len(objects), np.bool_) if of is None else objects.of_stage(of)
    if is_tracked:
        chosen &= objects.track >= 0
    places = np.flatnonzero(chosen).tolist()
    points = anchors(objects.box[places], anchor)
    return [
        Sighting(
            place=place,
            track=int(objects.track[place]),
            label=objects.label[place],
            score=round(float(objects.score[place]), 4),
            box=objects.box[place],
            point=points[n],
            moment=Moment.of(record),
            row=row,
        )
        for n, (place, row) in enumerate(zip(places, participants(objects, places), strict=True))
    ]
