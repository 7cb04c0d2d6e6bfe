"""Tracks: what a job knows of one thing over all frames that show it, and of its crops."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from cvpipe.results import FrameRecord

Key = tuple[str, int]
"""Whose objects (the name of the stage that found them), and the number of the track."""


@dataclass(frozen=True, slots=True)
class CropRecord:
    """What a job knows of one crop.

    stage: name of the stage that chose it. frame, time: where it is cut from; seconds since the first frame. place: of
    the object in that frame's record. quality: 0 to 1, see `quality`. size: width and height of its picture, in pixels.
    object: the object as in its frame's record, with what stages found out on the crop.
    """

    stage: str
    frame: int
    time: float
    place: int
    quality: float
    size: tuple[int, int]
    object: Mapping[str, Any]

    @property
    def file(self) -> str:
        """Name of its picture among the job's crops."""
        return f"{self.stage}-f{self.frame:06d}-o{self.place}.jpg"

    @property
    def track(self) -> Key | None:
        """The track it belongs to; None: it has none."""
        number = self.object["track"]
        return None if number is None else (self.object["stage"], number)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "stage": self.stage,
            "file": self.file,
            "frame": self.frame,
            "time": self.time,
            "place": self.place,
            "quality": self.quality,
            "size": list(self.size),
            "object": dict(self.object),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CropRecord:
        """The inverse of `to_dict`."""
        fields = {name: data[name] for name in ("stage", "frame", "time", "place", "quality", "object")}
        return cls(size=(data["size"][0], data["size"][1]), **fields)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    def pack(self) -> bytes:
        """As MessagePack."""
        packed: bytes = msgpack.packb(self.to_dict())
        return packed

    @classmethod
    def unpack(cls, raw: bytes) -> CropRecord:
        """The inverse of `pack`."""
        return cls.from_dict(msgpack.unpackb(raw))


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What a job knows of one track.

    stage: whose objects it joins. track: its number. label: the one with most of the scores. score: the mean. frames:
    how many show it. first, last: `{"frame", "time"}`. values: what its crops say together, by stage name: the value,
    with `confidence`, `votes` (crops that agree), `crops` (of how many), `evidence` (files of crops that say exactly
    this, the best first). crops: `{"stage", "file", "frame", "time", "box", "quality"}`, in order of time.
    """

    stage: str
    track: int
    label: str
    score: float
    frames: int
    first: Mapping[str, Any]
    last: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    crops: Sequence[Mapping[str, Any]] = ()

    @property
    def key(self) -> Key:
        """What names it within its job."""
        return self.stage, self.track

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "stage": self.stage,
            "track": self.track,
            "label": self.label,
            "score": self.score,
            "frames": self.frames,
            "first": dict(self.first),
            "last": dict(self.last),
            "values": dict(self.values),
            "crops": [dict(crop) for crop in self.crops],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrackRecord:
        """The inverse of `to_dict`."""
        fields = {name: data[name] for name in cls.__slots__}
        return cls(**{**fields, "crops": tuple(fields["crops"])})

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    def pack(self) -> bytes:
        """As MessagePack."""
        packed: bytes = msgpack.packb(self.to_dict())
        return packed

    @classmethod
    def unpack(cls, raw: bytes) -> TrackRecord:
        """The inverse of `pack`."""
        return cls.from_dict(msgpack.unpackb(raw))


class TrackTable:
    """What the records of a job say of its tracks. Memory: some hundred bytes a track."""

    def __init__(self) -> None:
        self._rows: dict[Key, dict[str, Any]] = {}

    def add(self, record: FrameRecord) -> None:
        """Take the next record, in order."""
        objects = record.objects
        for place, track in enumerate(objects.track.tolist()):
            if track < 0 or objects.filled[place]:
                continue
            at = {"frame": record.frame, "time": record.time}
            key, label, score = (objects.stage[place], track), objects.label[place], float(objects.score[place])
            row = self._rows.setdefault(key, {"frames": 0, "score": 0.0, "labels": {}, "first": at})
            row["frames"] += 1
            row["score"] += score
            row["last"] = at
            row["labels"][label] = row["labels"].get(label, 0.0) + score

    def state(self) -> dict[str, Any]:
        """MessagePack-able values."""
        return {"rows": [[*key, row] for key, row in self._rows.items()]}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> TrackTable:
        """The inverse of `state`."""
        table = cls()
        table._rows = {(stage, track): row for stage, track, row in state["rows"]}
        return table

    def tracks(self) -> Iterator[TrackRecord]:
        """In the order in which they begin; without what crops say."""
        for (stage, track), row in sorted(self._rows.items(), key=lambda item: (item[1]["first"]["frame"], item[0])):
            labels = row["labels"]
            yield TrackRecord(
                stage=stage,
                track=track,
                label=max(sorted(labels), key=labels.__getitem__),
                score=round(row["score"] / row["frames"], 4),
                frames=row["frames"],
                first=row["first"],
                last=row["last"],
            )


def by_track(crops: Iterable[CropRecord]) -> dict[Key, list[CropRecord]]:
    """Crops that belong to a track, by it, in order of time."""
    found: dict[Key, list[CropRecord]] = {}
    for crop in crops:
        if crop.track is not None:
            found.setdefault(crop.track, []).append(crop)
    return {key: sorted(some, key=lambda crop: (crop.frame, crop.place, crop.stage)) for key, some in found.items()}
