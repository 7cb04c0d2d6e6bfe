"""Events: what happened in a video, over an interval of time, and the frame that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import msgpack
import numpy as np

from cvpipe.results import FrameRecord, Objects, epoch_seconds, iso_time


class Moment(NamedTuple):
    """A frame and its time. frame: number of the source frame. time: seconds since the first frame of the video."""

    frame: int
    time: float

    @classmethod
    def of(cls, record: FrameRecord) -> Self:
        """When a record's frame is shown."""
        return cls(record.frame, record.time)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a stage says has happened.

    kind: what (`line_crossed`). stage: name of the stage that tells. start, end: of its interval; equal for what takes
    no time. evidence: the moment that shows it best. objects: who takes part, as on the frame of evidence, plain JSON
    values with `track`, `label`, `box` (x1, y1, x2, y2 in pixels of the displayed source frame). values: what else
    there is to say, plain JSON values. is_over: False where the video ended first.
    number: place in the job's log, from 1; 0 until it is there. wall_time: of the start, seconds since the epoch,
    where known.
    """

    kind: str
    stage: str
    start: Moment
    end: Moment
    evidence: Moment
    objects: tuple[Mapping[str, Any], ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    is_over: bool = True
    number: int = 0
    wall_time: float | None = None

    @property
    def tracks(self) -> tuple[int, ...]:
        """Numbers of the tracks that take part, ascending, each once."""
        return tuple(sorted({row["track"] for row in self.objects if row.get("track") is not None}))

    def to_dict(self) -> dict[str, Any]:
        """The event as plain JSON values."""
        return {
            "number": self.number,
            "kind": self.kind,
            "stage": self.stage,
            "start": self.start.time,
            "end": self.end.time,
            **({} if self.wall_time is None else {"wall_time": iso_time(self.wall_time)}),
            "start_frame": self.start.frame,
            "end_frame": self.end.frame,
            "evidence_frame": self.evidence.frame,
            "evidence_time": self.evidence.time,
            "is_over": self.is_over,
            "tracks": list(self.tracks),
            "objects": [dict(row) for row in self.objects],
            "values": dict(self.values),
        }

    def to_json(self) -> str:
        """The event as one line of JSON (a line of NDJSON, without its newline)."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            kind=data["kind"],
            stage=data["stage"],
            start=Moment(data["start_frame"], data["start"]),
            end=Moment(data["end_frame"], data["end"]),
            evidence=Moment(data["evidence_frame"], data["evidence_time"]),
            objects=tuple(data["objects"]),
            values=data["values"],
            is_over=data["is_over"],
            number=data["number"],
            wall_time=None if data.get("wall_time") is None else epoch_seconds(data["wall_time"]),
        )

    def pack(self) -> bytes:
        """The event as MessagePack (what lies in Redis; RedisInsight shows it readably)."""
        packed: bytes = msgpack.packb(self.to_dict())
        return packed

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """The inverse of `pack`."""
        return cls.from_dict(msgpack.unpackb(raw))


def participants(objects: Objects, places: Sequence[int]) -> tuple[dict[str, Any], ...]:
    """Objects at some places as an event names who takes part in it."""
    rows = objects.taken(np.array(places, np.int64)).to_dicts()
    wanted = ("stage", "track", "label", "box", "text")
    return tuple({key: row[key] for key in wanted if row[key] is not None} for row in rows)
