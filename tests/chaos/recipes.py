"""What is asked of the service: small real videos, and pipelines with and without a network, a memory, a sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from tests.video.clips import make_clip, x264
from training.scenes import Cast, write_video


@dataclass(frozen=True, slots=True)
class Recipe:
    """One kind of job. video: name of a file that `draw` makes. frames: how many records it has."""

    name: str
    video: str
    frames: int
    stages: list[dict[str, Any]]
    weight: float
    chunk_seconds: float = 2.0
    annotate: bool = False
    pipeline: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pipeline", {"name": self.name, "stages": self.stages})


RECIPES = (
    Recipe("edges", "clip.mp4", 600, [{"type": "edges"}], 6),
    Recipe("scenes", "clip.mp4", 600, [{"type": "scenes"}], 2),
    Recipe("damaged", "damaged.mp4", 300, [{"type": "edges"}], 2, chunk_seconds=1),
    Recipe("annotated", "short.mp4", 120, [{"type": "edges"}], 1, annotate=True),
    Recipe(
        "things", "street.mp4", 64, [{"type": "detect", "model": "drawn-street"}, {"type": "track", "of": "detect"}], 3,
        chunk_seconds=0.5,
    ),
)  # fmt: skip
#: All of a video in one chunk, of some seconds of work: its progress is the chunk's.
LONG = Recipe("long", "long.mp4", 3000, [{"type": "edges"}], 0, chunk_seconds=120)

_DAMAGED = (70, 71, 180)


def draw(path: Path) -> Path:
    """Make the video of this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make: dict[str, Callable[[Path], object]] = {
        "clip.mp4": lambda path: make_clip(path, options=x264(), frames=600),
        "short.mp4": lambda path: make_clip(path, options=x264(), frames=120),
        "long.mp4": lambda path: make_clip(path, options=x264(), frames=3000),
        "damaged.mp4": _damaged,
        "street.mp4": lambda path: write_video(
            path, Cast(5, people=6, dogs=2, cars=2, phases=2), 5, scenes=2, frames=32, size=(256, 192), tall=(40, 120)
        ),
    }
    make[path.name](path)
    return path


def _damaged(path: Path) -> None:
    """A clip in which some packets are blank: their frames can't be decoded, and say so."""
    make_clip(path, options=x264(), frames=300)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None]
    with path.open("r+b") as file:
        for number in _DAMAGED:
            place, size = packets[number]
            file.seek(place)
            file.write(b"\0" * size)
