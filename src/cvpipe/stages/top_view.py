"""`top_view`: the ways of all tracks over the ground, seen from above."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.camera import CameraSpec
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Image
from cvpipe.geometry.pitches import Pitch
from cvpipe.plans import CHALK, MARGIN, PLAIN, Plan
from cvpipe.plots import Plot, Points, colour_of
from cvpipe.results import FrameRecord
from cvpipe.stages import Footage, JobStage, Stage, StageOptions

_STEP_PIXELS = 1.5
_UNSEEN_SECONDS = 1.0


class TopViewOptions(StageOptions):
    """Options of `top_view`."""

    type: Literal["top_view"] = "top_view"
    of: str = Field(default="to_world", description="Name of the stage `to_world` whose places are drawn.")
    width: int = Field(default=1200, ge=100, le=8000, description="Of the picture, in pixels.")
    trail_seconds: float | None = Field(
        default=None, ge=0, description="How much of each way is drawn, back from its end. Default: all of it."
    )
    video: bool = Field(
        default=False,
        description="Make a video too, MP4: the ways as they come about, frame by frame, at the video's size.",
    )


class TopView(JobStage[TopViewOptions]):
    """Draw the ways of all tracks over the ground from above, on the lines of the camera's pitch: SVG, PNG and MP4.

    Each way ends in a dot with the number of its track, and in an ellipse of two standard deviations of where that is.
    Without a pitch there is a grid, its lines a round number of metres apart: 1, 2 or 5, times a power of ten; a bar in
    the corner says how many (one metre at least). In the video a track that was not seen for a second is not shown.
    """

    Options = TopViewOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: track, of: people}
    - type: to_world
      of: people
      camera:
        pitch: football
        points:
          - {pixel: [960, 612], spot: centre-spot}
          - {pixel: [962, 301], crossing: [halfway-line, far-touchline]}
          - {pixel: [402, 381], crossing: [left-penalty-area-front, left-penalty-area-far]}
          - {pixel: [1518, 379], crossing: [right-penalty-area-front, right-penalty-area-far]}
    - {type: top_view}
    """

    def __init__(self, options: TopViewOptions) -> None:
        super().__init__(options)
        self._pitch: Pitch | None = None

    def meet(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """Take the pitch of the stage whose places are drawn. Raises: InvalidPipeline where there is no such stage."""
        other = earlier.get(self.options.of)
        if other is None or other.kind() != "to_world":
            raise InvalidPipeline(f"draws places of {self.options.of!r}, which is no earlier stage `to_world`")
        camera = other.options.camera
        if isinstance(camera, CameraSpec) and camera.pitch is not None:
            self._pitch = camera.pitch.measured()

    def files(self) -> tuple[str, ...]:
        """Both pictures, and the video; with the stage's name in theirs where it has one of its own."""
        name = "top-view" if self.name in ("", self.options.type) else f"top-view-{self.name}"
        return (f"{name}.svg", f"{name}.png", *([f"{name}.mp4"] if self.options.video else []))

    def make(self, footage: Footage, folder: Path) -> None:
        """Draw them. Memory: the corners of all ways; for the video all places."""
        plot = draw(
            footage.records(),
            self.options.of,
            field=self._pitch,
            width=self.options.width,
            trail_seconds=self.options.trail_seconds,
        )
        svg, png, *videos = self.files()
        (folder / svg).write_text(plot.to_svg(), encoding="utf-8")
        (folder / png).write_bytes(plot.to_png())
        for video in videos:
            film = Film.of(
                footage.records(),
                self.options.of,
                field=self._pitch,
                size=footage.size,
                trail_seconds=self.options.trail_seconds,
            )
            self._write(film, footage, folder / video)

    @staticmethod
    def _write(film: Film, footage: Footage, path: Path) -> None:
        """One frame for each of the part of the video, shown when that is."""
        numbers = np.arange(footage.part.start, footage.part.stop, dtype=np.int64)
        times = footage.times

        def paint(image: Image, number: int) -> None:
            image[:] = film.at(float(times[number]))[..., ::-1]

        footage.write_painted(path, numbers, times[numbers] - times[numbers[0]], paint)


@dataclass(slots=True)
class _Way:
    """Where a track was: x and y in metres and the time, of each place; standard deviations of the last one."""

    places: list[tuple[float, float, float]] = field(default_factory=list)
    deviation: tuple[float, float] = (0.0, 0.0)
    correlation: float = 0.0

    def add(self, value: Mapping[str, Any], time: float, *, step: float) -> None:
        """step: metres below which a place is not worth a corner."""
        x, y = value["position"]
        if len(self.places) > 1 and np.hypot(x - self.places[-2][0], y - self.places[-2][1]) < step:
            self.places.pop()
        self.places.append((x, y, time))
        self.deviation = (value["deviation"][0], value["deviation"][1])
        self.correlation = value["correlation"]


def draw(
    records: Iterable[FrameRecord], stage: str, *, field: Pitch | None, width: int, trail_seconds: float | None = None
) -> Plot:
    """The picture. stage: name of the stage `to_world`. field: the pitch below, if there is one. width: in pixels."""
    step = _STEP_PIXELS * (0.01 if field is None else field.length * (1 + 2 * MARGIN) / width)
    ways: dict[int, _Way] = {}
    for record in records:
        for track, value in _placed(record, stage):
            ways.setdefault(track, _Way()).add(value, record.time, step=step)
    plan = Plan.around([place[:2] for way in ways.values() for place in way.places], field=field, width=width)
    plot = plan.plot()
    for track, way in sorted(ways.items()):
        end = way.places[-1][2]
        shown = [place for place in way.places if trail_seconds is None or place[2] >= end - trail_seconds]
        plot.line(plan.pixels([place[:2] for place in shown]), colour_of(track), width=2.5, opacity=0.85)
    for track, way in sorted(ways.items()):
        x, y = plan.pixels([way.places[-1][:2]])[0].tolist()
        across, up = way.deviation[0] * plan.scale, way.deviation[1] * plan.scale
        shared = -way.correlation * across * up  # the picture's y goes down
        plot.ellipse(x, y, np.array([[across**2, shared], [shared, up**2]]), CHALK)
        plot.dot(x, y, colour_of(track), radius=width / 170)
        plot.number(track, x, y - width / 70, CHALK, height=width / 90)
    return plot


@dataclass(frozen=True, slots=True)
class Film:
    """The ways of tracks as they come about.

    ways: of each track, (n, 3): x and y in pixels, and the time. ground: what lies below, (height, width, 3) RGB.
    """

    ways: Mapping[int, Points]
    ground: npt.NDArray[np.uint8]
    trail_seconds: float | None

    @classmethod
    def of(
        cls,
        records: Iterable[FrameRecord],
        stage: str,
        *,
        field: Pitch | None,
        size: tuple[int, int],
        trail_seconds: float | None = None,
    ) -> Film:
        """stage: name of the stage `to_world`. size: width and height of the pictures, in pixels."""
        places: dict[int, list[tuple[float, float, float]]] = {}
        for record in records:
            for track, value in _placed(record, stage):
                places.setdefault(track, []).append((*value["position"], record.time))
        plan = Plan.around(
            [place[:2] for way in places.values() for place in way], field=field, width=size[0], height=size[1]
        )
        ways = {
            track: np.column_stack([plan.pixels([place[:2] for place in way]), [place[2] for place in way]])
            for track, way in sorted(places.items())
        }
        return cls(ways, plan.plot().to_image(), trail_seconds)

    def at(self, time: float) -> npt.NDArray[np.uint8]:
        """The picture at a time, (height, width, 3) RGB."""
        height, width = self.ground.shape[:2]
        plot = Plot(width, height, PLAIN)
        shown = []
        for track, way in self.ways.items():
            stop = int(np.searchsorted(way[:, 2], time, side="right"))
            if stop == 0 or time - way[stop - 1, 2] > _UNSEEN_SECONDS:
                continue
            start = 0 if self.trail_seconds is None else np.searchsorted(way[:stop, 2], time - self.trail_seconds)
            plot.line(way[start:stop, :2], colour_of(track), width=2.5, opacity=0.85)
            shown.append((track, way[stop - 1, :2].tolist()))
        for track, (x, y) in shown:
            plot.dot(x, y, colour_of(track), radius=max(3, width / 170))
            plot.number(track, x, y - max(11, width / 70), CHALK, height=max(8, width / 90))
        return plot.to_image(self.ground)


def _placed(record: FrameRecord, stage: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each track of a record that has a place, and what the stage `to_world` says of it."""
    for track, values in zip(record.objects.track.tolist(), record.objects.values, strict=True):
        value = (values or {}).get(stage)
        if track >= 0 and value is not None:
            yield track, value
