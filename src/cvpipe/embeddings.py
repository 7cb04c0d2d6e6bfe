"""Embeddings in results, and the nearest ones among the records of a job."""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidRequest, NotFound
from cvpipe.results import FrameRecord

Vector = npt.NDArray[np.float32]


def to_value(vector: Vector) -> dict[str, Any]:
    """(d,) as it stands in results: `{"vector": base64 of little-endian float16, "size": d}`."""
    raw = vector.astype("<f2").tobytes()
    return {"vector": base64.b64encode(raw).decode("ascii"), "size": len(vector)}


def from_value(value: Any) -> Vector | None:
    """The vector of such a value, (d,); None where it is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("vector"), str):
        return None
    try:
        raw = base64.b64decode(value["vector"], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) % 2 or not raw or value.get("size") != len(raw) // 2:
        return None
    return np.frombuffer(raw, "<f2").astype(np.float32)


@dataclass(frozen=True, slots=True)
class Place:
    """Something that has an embedding: a frame, or an object on it.

    frame: its number. object: place in the frame's list of objects, from 0; None: the frame as a whole.
    """

    frame: int
    object: int | None

    @classmethod
    def read(cls, text: str) -> Place:
        """`FRAME` or `FRAME:OBJECT`, both from 0. Raises: InvalidRequest."""
        frame, colon, place = text.partition(":")
        if not frame.isascii() or not frame.isdecimal() or (colon and not (place.isascii() and place.isdecimal())):
            raise InvalidRequest(f"wanted FRAME or FRAME:OBJECT, both counted from 0; got {text!r}", field="like")
        return cls(int(frame), int(place) if colon else None)

    def __str__(self) -> str:
        return str(self.frame) if self.object is None else f"{self.frame}:{self.object}"


@dataclass(frozen=True, slots=True)
class Match:
    """Something that looks alike.

    stage: name of the stage whose embedding it is. score: cosine, -1 to 1. label, box, track: of the object.
    """

    place: Place
    time: float
    stage: str
    score: float
    label: str | None = None
    box: tuple[float, ...] | None = None
    track: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Match:
        """The inverse of `to_dict`."""
        box = data["box"]
        return cls(
            place=Place(int(data["frame"]), None if data["object"] is None else int(data["object"])),
            time=float(data["time"]),
            stage=str(data["stage"]),
            score=float(data["score"]),
            label=data["label"],
            box=None if box is None else tuple(map(float, box)),
            track=data["track"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "frame": self.place.frame,
            "object": self.place.object,
            "time": self.time,
            "stage": self.stage,
            "score": self.score,
            "label": self.label,
            "box": None if self.box is None else list(self.box),
            "track": self.track,
        }


def find(records: Iterable[FrameRecord], place: Place, stage: str | None = None) -> tuple[str, Vector]:
    """The embedding of a place, and the name of the stage that made it.

    records: in order of frames; read up to the place. stage: its name; None: the first one that made one.
    Raises: NotFound.
    """
    for record in records:
        if record.frame == place.frame:
            for name, vector in _vectors_at(record, place.object):
                if stage in (None, name):
                    return name, vector
            break
        if record.frame > place.frame:
            break
    whose = "" if stage is None else f" of the stage {stage!r}"
    raise NotFound(f"there is no embedding{whose} at {place}", field="like")


def nearest(
    records: Iterable[FrameRecord], wanted: Vector, *, stage: str, top: int, but: Place | None = None
) -> list[Match]:
    """The `top` embeddings of a stage that are nearest to the one wanted by cosine, the best first.

    but: a place to leave out. Equal ones in order of frames. Memory: `top` matches and a record.
    """
    target = _unit(wanted)
    best: list[tuple[float, int, Match]] = []
    for number, (place, vector, record) in enumerate(_vectors(records, stage)):
        if place == but or vector.shape != target.shape:
            continue
        score = round(float(_unit(vector) @ target), 4)
        if len(best) == top and (score, -number) <= best[0][:2]:
            continue
        entry = (score, -number, _match(record, place, stage, score))
        (heapq.heappush if len(best) < top else heapq.heapreplace)(best, entry)
    return [match for _, _, match in sorted(best, key=lambda entry: entry[:2], reverse=True)]


def _vectors(records: Iterable[FrameRecord], stage: str) -> Iterator[tuple[Place, Vector, FrameRecord]]:
    for record in records:
        for place in (None, *range(len(record.objects))):
            values = record.values if place is None else record.objects.values[place]
            vector = from_value((values or {}).get(stage))
            if vector is not None:
                yield Place(record.frame, place), vector, record


def _vectors_at(record: FrameRecord, place: int | None) -> Iterator[tuple[str, Vector]]:
    if place is not None and place >= len(record.objects):
        return
    for name, value in ((record.values if place is None else record.objects.values[place]) or {}).items():
        vector = from_value(value)
        if vector is not None:
            yield name, vector


def _match(record: FrameRecord, place: Place, stage: str, score: float) -> Match:
    if place.object is None:
        return Match(place, record.time, stage, score)
    row = record.objects.where(np.arange(len(record.objects)) == place.object).to_dicts()[0]
    return Match(place, record.time, stage, score, row["label"], tuple(row["box"]), row["track"])


def _unit(vector: Vector) -> Vector:
    length = float(np.sqrt(np.dot(vector, vector)))
    return vector / np.float32(length) if length else vector
