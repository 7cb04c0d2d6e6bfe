"""What really happens in the demo's clip, frame by frame."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class CarTruth:
    """A car on a frame. in_view: all of its plate is on the picture."""

    name: str
    plate: str
    box: Box
    plate_box: Box
    in_view: bool


class Joint(NamedTuple):
    """A joint of a person. sight: 2 it can be seen, 1 something is in front of it, 0 it is off the picture."""

    x: float
    y: float
    sight: int


@dataclass(frozen=True, slots=True)
class ThingTruth:
    """Something that can be found on a frame.

    box: around the pixels that can be seen. mask: those pixels, COCO's compressed run lengths for the whole frame.
    joints: of a person, in the order of `examples.demo.layers.JOINTS`. counts: enough of it can be seen.
    """

    label: str
    box: Box
    mask: str
    joints: tuple[Joint, ...] | None
    counts: bool


@dataclass(frozen=True, slots=True)
class FrameTruth:
    """What a frame shows. time: seconds since the first frame. cars: those of which a part is on the picture.

    things: people, dogs and cars that can be seen, from far to near.
    """

    frame: int
    time: float
    clock: str
    sign: str
    cars: tuple[CarTruth, ...]
    things: tuple[ThingTruth, ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """What the clip shows. clock_box, sign_box: where the text of the clock and of the scoreboard stands."""

    width: int
    height: int
    fps: int
    clock_box: Box
    sign_box: Box
    frames: tuple[FrameTruth, ...]

    def write(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Truth:
        """What `write` saved."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        frames = tuple(
            FrameTruth(
                **{
                    **frame,
                    "cars": tuple(CarTruth(**_boxes(car)) for car in frame["cars"]),
                    "things": tuple(ThingTruth(**_boxes(thing)) for thing in frame["things"]),
                }
            )
            for frame in data["frames"]
        )
        return cls(**{**_boxes(data), "frames": frames})


def _boxes(data: dict[str, Any]) -> dict[str, Any]:
    changed = {key: tuple(value) if key.endswith("box") else value for key, value in data.items()}
    if data.get("joints"):
        changed["joints"] = tuple(Joint(*joint) for joint in data["joints"])
    return changed
