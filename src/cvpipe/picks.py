"""Picks: objects of a job's records that are to be looked at closely, and their pictures, cut out of the frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image, View
from cvpipe.results import FrameRecord


@dataclass(frozen=True, slots=True)
class Shot:
    """An object on a frame, that may become a crop.

    record: of the frame, with this object alone. place: of the object in the whole record. merit: see `quality`.
    """

    record: FrameRecord
    place: int
    merit: float

    def __post_init__(self) -> None:
        if len(self.record.objects) != 1:
            raise ValueError(f"a shot is of one object, got {len(self.record.objects)}")


@dataclass(frozen=True, slots=True)
class Pick:
    """One crop to be made: the best of these shots, once their pixels are there.

    stage: name of the stage that chose it. shots: of one object, in the order of their frames, one at least.
    """

    stage: str
    shots: tuple[Shot, ...]

    @property
    def first(self) -> int:
        """Number of the first frame that is needed: its chunk is the pick's."""
        return self.shots[0].record.frame

    @property
    def order(self) -> tuple[int, int, str]:
        """Picks are worked on in this order: as the last frames that they need come out of the decoder."""
        return self.shots[-1].record.frame, self.shots[-1].place, self.stage

    def to_dict(self) -> dict[str, Any]:
        """MessagePack-able values."""
        return {"stage": self.stage, "shots": [[s.record.pack(), s.place, s.merit] for s in self.shots]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pick:
        """The inverse of `to_dict`."""
        return cls(data["stage"], tuple(Shot(FrameRecord.unpack(raw), p, m) for raw, p, m in data["shots"]))


def pack_picks(picks: list[Pick]) -> bytes:
    """Picks as MessagePack."""
    packed: bytes = msgpack.packb([pick.to_dict() for pick in picks])
    return packed


def unpack_picks(raw: bytes) -> list[Pick]:
    """The inverse of `pack_picks`."""
    return [Pick.from_dict(data) for data in msgpack.unpackb(raw)]


@dataclass(frozen=True, slots=True, eq=False)
class Cutting:
    """An object cut out of its frame.

    view, image: the picture, as later stages see it, BGR. sharpness: of the object, 0 to 1.
    to_frame: (2, 3) float64, from pixels of a picture that was turned to those of the displayed source frame; None: the
    view knows the way.
    """

    view: View
    image: Image
    sharpness: float
    to_frame: npt.NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        return f"Cutting({self.view.width}x{self.view.height}, sharpness={self.sharpness:.3f})"
