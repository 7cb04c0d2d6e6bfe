"""What a job finds: objects, the record of a frame, and its two forms on the wire (JSON and MessagePack)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgpack
import numpy as np
import numpy.typing as npt

from cvpipe.rle import Mask

Status = Literal["ok", "decode_error", "failed"]

_BOX_DECIMALS = 2
_SCORE_DECIMALS = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """What one or more stages found on a frame, as parallel arrays of length n.

    box: (n, 4) float32, x1, y1, x2, y2 in pixels of the displayed source frame. score: (n,) float32, 0 to 1.
    class_id: (n,) int32, -1 where there is no class. label, stage: n strings. text: n strings or None.
    track: (n,) int32, -1 where not tracked.
    keypoints: n arrays (k, 3) float32, x and y in pixels of the displayed source frame, and score, in the order of the
    names on the model's card; or None. mask: n masks of the displayed source frame or None. values: what later stages
    found out about each object, by stage name, plain JSON values; or None. filled: (n,) bool, whether nobody saw it on
    this frame: it is where its track must have been.
    """

    box: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int32]
    label: tuple[str, ...]
    stage: tuple[str, ...]
    text: tuple[str | None, ...]
    track: npt.NDArray[np.int32]
    keypoints: tuple[npt.NDArray[np.float32] | None, ...] = ()
    mask: tuple[Mask | None, ...] = ()
    values: tuple[Mapping[str, Any] | None, ...] = ()
    filled: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        n = len(self.box)
        if self.box.shape != (n, 4):
            raise ValueError(f"box: wanted (n, 4), got {self.box.shape}")
        for name in ("keypoints", "mask", "values"):
            if not getattr(self, name):
                object.__setattr__(self, name, (None,) * n)
        if not len(self.filled):
            object.__setattr__(self, "filled", np.zeros(n, np.bool_))
        for name in ("score", "class_id", "label", "stage", "text", "track", "keypoints", "mask", "values", "filled"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name}: wanted {n} entries like box, got {len(getattr(self, name))}")
        for points in self.keypoints:
            if points is not None and (points.ndim != 2 or points.shape[1] != 3):
                raise ValueError(f"keypoints: wanted (k, 3) for each object, got {points.shape}")

    def __len__(self) -> int:
        return len(self.box)

    def __repr__(self) -> str:
        return f"Objects(n={len(self)}, stages={sorted(set(self.stage))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objects) and self.to_dicts() == other.to_dicts()

    __hash__ = None  # type: ignore[assignment]  # arrays can't be hashed

    @classmethod
    def make(
        cls,
        *,
        stage: str,
        box: npt.ArrayLike,
        score: npt.ArrayLike,
        label: Sequence[str],
        class_id: npt.ArrayLike | None = None,
        text: Sequence[str | None] | None = None,
        track: npt.ArrayLike | None = None,
        keypoints: Sequence[npt.ArrayLike | None] = (),
        mask: Sequence[Mask | None] = (),
        values: Sequence[Mapping[str, Any] | None] = (),
    ) -> Objects:
        """Objects of one stage; numbers are rounded as they are stored (pixels to 0.01, scores to 0.0001)."""
        boxes = np.asarray(box, dtype=np.float64).reshape(-1, 4).round(_BOX_DECIMALS).astype(np.float32)
        n = len(boxes)
        return cls(
            box=boxes,
            score=np.asarray(score, dtype=np.float64).reshape(-1).round(_SCORE_DECIMALS).astype(np.float32),
            class_id=np.full(n, -1, np.int32) if class_id is None else np.asarray(class_id, np.int32).reshape(-1),
            label=tuple(label),
            stage=(stage,) * n,
            text=(None,) * n if text is None else tuple(text),
            track=np.full(n, -1, np.int32) if track is None else np.asarray(track, np.int32).reshape(-1),
            keypoints=tuple(None if points is None else rounded_points(points) for points in keypoints),
            mask=tuple(mask),
            values=tuple(values),
        )

    @classmethod
    def none(cls) -> Objects:
        """No objects."""
        return _NONE

    @classmethod
    def concat(cls, parts: Iterable[Objects]) -> Objects:
        """All objects of `parts`, in order."""
        some = [part for part in parts if len(part)]
        if not some:
            return cls.none()
        if len(some) == 1:
            return some[0]
        return cls(
            box=np.concatenate([p.box for p in some]),
            score=np.concatenate([p.score for p in some]),
            class_id=np.concatenate([p.class_id for p in some]),
            label=tuple(v for p in some for v in p.label),
            stage=tuple(v for p in some for v in p.stage),
            text=tuple(v for p in some for v in p.text),
            track=np.concatenate([p.track for p in some]),
            keypoints=tuple(v for p in some for v in p.keypoints),
            mask=tuple(v for p in some for v in p.mask),
            values=tuple(v for p in some for v in p.values),
            filled=np.concatenate([p.filled for p in some]),
        )

    def where(self, mask: npt.NDArray[np.bool_]) -> Objects:
        """The objects for which mask, (n,) bool, is true."""
        return self.taken(np.flatnonzero(mask))

    def taken(self, keep: npt.NDArray[np.int64]) -> Objects:
        """The objects at these places, (m,) int64, in this order."""
        return Objects(
            box=self.box[keep],
            score=self.score[keep],
            class_id=self.class_id[keep],
            label=tuple(self.label[i] for i in keep),
            stage=tuple(self.stage[i] for i in keep),
            text=tuple(self.text[i] for i in keep),
            track=self.track[keep],
            keypoints=tuple(self.keypoints[i] for i in keep),
            mask=tuple(self.mask[i] for i in keep),
            values=tuple(self.values[i] for i in keep),
            filled=self.filled[keep],
        )

    def with_values(self, stage: str, found: Mapping[int, Any]) -> Objects:
        """These objects with what the stage named `stage` found out about some of them, by their place in the list."""
        values = tuple({**(old or {}), stage: found[i]} if i in found else old for i, old in enumerate(self.values))
        return replace(self, values=values)

    def of_stage(self, stage: str) -> npt.NDArray[np.bool_]:
        """(n,) bool: which objects the stage named `stage` found."""
        return np.fromiter((s == stage for s in self.stage), bool, len(self))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dictionary for each object, as in JSON."""
        boxes = [[round(v, _BOX_DECIMALS) for v in row] for row in self.box.tolist()]
        scores = [round(v, _SCORE_DECIMALS) for v in self.score.tolist()]
        return [
            {
                "stage": self.stage[i],
                "label": self.label[i],
                "class_id": class_id if class_id >= 0 else None,
                "score": scores[i],
                "box": boxes[i],
                "track": track if track >= 0 else None,
                "text": self.text[i],
                **self._extras(i),
            }
            for i, (class_id, track) in enumerate(zip(self.class_id.tolist(), self.track.tolist(), strict=True))
        ]

    def _extras(self, i: int) -> dict[str, Any]:
        """What not every object has."""
        points, mask, values = self.keypoints[i], self.mask[i], self.values[i]
        return {
            **({"filled": True} if self.filled[i] else {}),
            **({} if points is None else {"keypoints": _points_rows(points)}),
            **({} if mask is None else {"mask": mask.to_dict()}),
            **({} if values is None else {"values": dict(values)}),
        }


_NONE = Objects.make(stage="", box=np.zeros((0, 4)), score=[], label=())


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What a job knows of one frame.

    frame: number of the source frame in display order, from 0. pts: presentation time stamp in the stream's time base.
    time: seconds since the first frame of the video. status: `ok`; `decode_error`, the frame could not be decoded;
    `failed`, its chunk was given up. error: a code where status is not `ok`.
    degraded: what it is predicted from is damaged, so that its picture may be wrong in places.
    wall_time: seconds since the epoch (UTC), to the millisecond, where the job or the file says when the recording
    began; in JSON ISO 8601.
    objects: what was found. values: named results of stages that find no objects, by stage name; plain JSON values.
    """

    frame: int
    pts: int
    time: float
    status: Status = "ok"
    objects: Objects = field(default_factory=Objects.none)
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    wall_time: float | None = None
    degraded: bool = False

    @property
    def stream_id(self) -> str:
        """Id of the record's Redis stream entry: `<ms since the first frame>-<frame + 1>`."""
        return f"{stream_ms(self.time)}-{self.frame + 1}"

    def with_found(self, found: Found) -> FrameRecord:
        """This record with a stage's results added."""
        objects = self.objects if found.objects is None else found.objects
        if found.added is not None:
            objects = Objects.concat((objects, found.added))
        values = {**self.values, **found.values} if found.values else self.values
        return replace(self, objects=objects, values=values)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        out: dict[str, Any] = {
            "frame": self.frame,
            "pts": self.pts,
            "time": self.time,
            **({} if self.wall_time is None else {"wall_time": iso_time(self.wall_time)}),
            "status": self.status,
            **({"degraded": True} if self.degraded else {}),
            "objects": self.objects.to_dicts(),
            "values": dict(self.values),
        }
        if self.error is not None:
            out["error"] = self.error
        return out

    def to_json(self) -> str:
        """The record as one line of JSON (a line of NDJSON, without its newline)."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrameRecord:
        """The inverse of `to_dict`."""
        rows = data["objects"]
        objects = Objects(
            box=np.array([r["box"] for r in rows], np.float32).reshape(-1, 4),
            score=np.array([r["score"] for r in rows], np.float32),
            class_id=np.array([-1 if r["class_id"] is None else r["class_id"] for r in rows], np.int32),
            label=tuple(r["label"] for r in rows),
            stage=tuple(r["stage"] for r in rows),
            text=tuple(r["text"] for r in rows),
            track=np.array([-1 if r["track"] is None else r["track"] for r in rows], np.int32),
            keypoints=tuple(_points(r.get("keypoints")) for r in rows),
            mask=tuple(None if r.get("mask") is None else Mask.from_dict(r["mask"]) for r in rows),
            values=tuple(r.get("values") for r in rows),
            filled=np.array([r.get("filled", False) for r in rows], np.bool_),
        )
        return cls(
            frame=data["frame"],
            pts=data["pts"],
            time=data["time"],
            status=data["status"],
            objects=objects,
            values=data["values"],
            error=data.get("error"),
            wall_time=None if data.get("wall_time") is None else epoch_seconds(data["wall_time"]),
            degraded=data.get("degraded", False),
        )

    def pack(self) -> bytes:
        """The record as MessagePack, its objects as columns (what lies in Redis; RedisInsight shows it readably)."""
        parts = [
            _pack_pair("frame", self.frame),
            _pack_pair("pts", self.pts),
            _pack_pair("time", self.time),
            _pack_pair("status", self.status),
        ]
        if self.wall_time is not None:
            parts.append(_pack_pair("wall_time", self.wall_time))
        if self.degraded:
            parts.append(_pack_pair("degraded", True))
        o = self.objects
        if len(o):
            columns: dict[str, Any] = {
                "stage": _fold(o.stage),
                "label": _fold(o.label),
                "class_id": o.class_id.tolist(),
                "score": o.score.tolist(),
                "box": o.box.reshape(-1).tolist(),
            }
            if (o.track >= 0).any():
                columns["track"] = o.track.tolist()
            if any(text is not None for text in o.text):
                columns["text"] = list(o.text)
            if any(points is not None for points in o.keypoints):
                columns["keypoints"] = [None if p is None else p.reshape(-1).tolist() for p in o.keypoints]
            if any(mask is not None for mask in o.mask):
                columns["mask"] = [None if mask is None else mask.to_dict() for mask in o.mask]
            if any(values is not None for values in o.values):
                columns["values"] = o.values
            if o.filled.any():
                columns["filled"] = o.filled.tolist()
            parts.append(msgpack.packb("objects") + _pack_columns(columns))
        if self.values:
            parts.append(_pack_pair("values", self.values))
        if self.error is not None:
            parts.append(_pack_pair("error", self.error))
        header: bytes = msgpack.Packer().pack_map_header(len(parts))
        return header + b"".join(parts)

    @classmethod
    def unpack(cls, raw: bytes) -> FrameRecord:
        """The inverse of `pack`."""
        body = msgpack.unpackb(raw)
        columns = body.get("objects")
        objects = Objects.none()
        if columns:
            n = len(columns["score"])
            objects = Objects(
                box=np.array(columns["box"], np.float32).reshape(n, 4),
                score=np.array(columns["score"], np.float32),
                class_id=np.array(columns["class_id"], np.int32),
                label=_unfold(columns["label"], n),
                stage=_unfold(columns["stage"], n),
                text=tuple(columns.get("text", [None] * n)),
                track=np.array(columns.get("track", [-1] * n), np.int32),
                keypoints=tuple(_points(points) for points in columns.get("keypoints", ())),
                mask=tuple(None if mask is None else Mask.from_dict(mask) for mask in columns.get("mask", ())),
                values=tuple(columns.get("values", ())),
                filled=np.array(columns.get("filled", ()), np.bool_),
            )
        return cls(
            frame=body["frame"],
            pts=body["pts"],
            time=body["time"],
            status=body["status"],
            objects=objects,
            values=body.get("values", {}),
            error=body.get("error"),
            wall_time=body.get("wall_time"),
            degraded=body.get("degraded", False),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a stage found on one frame.

    added: new objects. objects: the frame's objects as they are to be from now on, where the stage changes earlier ones
    (`added` is appended to them). values: named results to add, keyed by the stage's name.
    skip: later stages need not look at the frame. map: a picture of what the stage made of the frame, to be handed out
    as a file of the job: uint8, (height, width) grey or (height, width, 3) BGR; its own copy.
    """

    added: Objects | None = None
    objects: Objects | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    skip: bool = False
    map: npt.NDArray[np.uint8] | None = None


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond: `2026-01-01T10:00:00.120Z`."""
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_seconds(text: str) -> float:
    """Seconds since the epoch, to the millisecond, of a time in ISO 8601 with its zone.

    Raises: ValueError where it is no such time, or names no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone; add Z (UTC) or an offset like +02:00")
    return round((moment - _EPOCH) / timedelta(milliseconds=1)) / 1000


def stream_ms(time: float) -> int:
    """Milliseconds of a stream id for a time in seconds since the first frame."""
    return max(0, int(time * 1000 + 0.5))


def _pack_columns(columns: Mapping[str, Any]) -> bytes:
    """A map; numbers of what stages found out (`values`) keep their full width, all others are single precision."""
    header: bytes = msgpack.Packer().pack_map_header(len(columns))
    packed = (
        msgpack.packb(key) + msgpack.packb(column, use_single_float=key != "values") for key, column in columns.items()
    )
    return header + b"".join(packed)


def rounded_points(points: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Keypoints (k, 3) as they are stored: pixels to 0.01, scores to 0.0001."""
    rows = np.asarray(points, np.float64).reshape(-1, 3)
    decimals = (_BOX_DECIMALS, _BOX_DECIMALS, _SCORE_DECIMALS)
    return np.stack([rows[:, i].round(d) for i, d in enumerate(decimals)], axis=1).astype(np.float32)


def _points_rows(points: npt.NDArray[np.float32]) -> list[list[float]]:
    rows = points.tolist()
    return [[round(x, _BOX_DECIMALS), round(y, _BOX_DECIMALS), round(score, _SCORE_DECIMALS)] for x, y, score in rows]


def _points(numbers: Any) -> npt.NDArray[np.float32] | None:
    """Keypoints from rows or from all numbers in a row; None as it is."""
    return None if numbers is None else np.array(numbers, np.float32).reshape(-1, 3)


def _pack_pair(key: str, value: Any) -> bytes:
    packed: bytes = msgpack.packb(key) + msgpack.packb(value)
    return packed


def _fold(names: tuple[str, ...]) -> str | list[str]:
    """One string where all are equal, which they mostly are."""
    return names[0] if len(set(names)) == 1 else list(names)


def _unfold(names: str | list[str], n: int) -> tuple[str, ...]:
    return (names,) * n if isinstance(names, str) else tuple(names)
