"""`top_view`: the ways of all tracks over the ground, seen from above."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.camera import CameraSpec
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Image
from cvpipe.geometry.pitches import Pitch, pitch
from cvpipe.plots import Colour, Plot, Points, colour_of
from cvpipe.results import FrameRecord
from cvpipe.stages import Footage, JobStage, Stage, StageOptions

_TURF: Colour = (44, 104, 60)
_WOOD: Colour = (150, 98, 58)
_CLAY: Colour = (40, 86, 130)
_ICE: Colour = (60, 84, 108)
_PLAIN: Colour = (40, 44, 52)
_CHALK: Colour = (235, 235, 235)
_GRID: Colour = (90, 96, 108)
_BACKGROUNDS: dict[str, Colour] = {
    "football": _TURF, "basketball": _WOOD, "basketball-nba": _WOOD, "tennis": _CLAY, "ice-hockey": _ICE,
    "ice-hockey-nhl": _ICE,
}  # fmt: skip
_STEP_PIXELS = 1.5
_MARGIN = 0.05
_LEAST_METRES = 2.0
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
            self._pitch = pitch(camera.pitch.kind, camera.pitch.length, camera.pitch.width)

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
    step = _STEP_PIXELS * (0.01 if field is None else field.length * (1 + 2 * _MARGIN) / width)
    ways: dict[int, _Way] = {}
    for record in records:
        for track, value in _placed(record, stage):
            ways.setdefault(track, _Way()).add(value, record.time, step=step)
    low, high = _bounds(field, [place for way in ways.values() for place in way.places])
    scale, origin, height = _frame(low, high, width)
    plot, at = _ground(field, scale, origin, (width, height))
    for track, way in sorted(ways.items()):
        end = way.places[-1][2]
        shown = [place for place in way.places if trail_seconds is None or place[2] >= end - trail_seconds]
        plot.line(at(shown), colour_of(track), width=2.5, opacity=0.85)
    for track, way in sorted(ways.items()):
        x, y = at(way.places[-1]).tolist()
        across, up = way.deviation[0] * scale, way.deviation[1] * scale
        shared = -way.correlation * across * up  # the picture's y goes down
        plot.ellipse(x, y, np.array([[across**2, shared], [shared, up**2]]), _CHALK)
        plot.dot(x, y, colour_of(track), radius=width / 170)
        plot.number(track, x, y - width / 70, _CHALK, height=width / 90)
    return plot


@dataclass(frozen=True, slots=True)
class Film:
    """The ways of tracks as they come about.

    ways: of each track, places (n, 3): x and y in metres, and the time. ground: what lies below, (height, width, 3)
    RGB. scale: pixels a metre. origin: the place of the upper left corner, in metres.
    """

    ways: Mapping[int, Points]
    ground: npt.NDArray[np.uint8]
    scale: float
    origin: Points
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
        low, high = _bounds(field, [place for way in places.values() for place in way])
        scale, origin, height = _frame(low, high, size[0])
        if height > size[1]:  # as high as it may be, and in the middle
            narrow = scale * size[1] / height
            origin = origin - np.array([(size[0] / narrow - size[0] / scale) / 2, 0])
            scale = narrow
        else:
            origin = origin + np.array([0, (size[1] - height) / scale / 2])
        plot, _ = _ground(field, scale, origin, size)
        ways = {track: np.array(way, np.float64) for track, way in sorted(places.items())}
        return cls(ways, plot.to_image(), scale, origin, trail_seconds)

    def at(self, time: float) -> npt.NDArray[np.uint8]:
        """The picture at a time, (height, width, 3) RGB."""
        height, width = self.ground.shape[:2]
        plot = Plot(width, height, _PLAIN)
        shown = []
        for track, way in self.ways.items():
            stop = int(np.searchsorted(way[:, 2], time, side="right"))
            if stop == 0 or time - way[stop - 1, 2] > _UNSEEN_SECONDS:
                continue
            start = 0 if self.trail_seconds is None else np.searchsorted(way[:stop, 2], time - self.trail_seconds)
            pixels = (way[start:stop, :2] - self.origin) * (self.scale, -self.scale)
            plot.line(pixels, colour_of(track), width=2.5, opacity=0.85)
            shown.append((track, ((way[stop - 1, :2] - self.origin) * (self.scale, -self.scale)).tolist()))
        for track, (x, y) in shown:
            plot.dot(x, y, colour_of(track), radius=max(3, width / 170))
            plot.number(track, x, y - max(11, width / 70), _CHALK, height=max(8, width / 90))
        return plot.to_image(self.ground)


def _placed(record: FrameRecord, stage: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each track of a record that has a place, and what the stage `to_world` says of it."""
    for track, values in zip(record.objects.track.tolist(), record.objects.values, strict=True):
        value = (values or {}).get(stage)
        if track >= 0 and value is not None:
            yield track, value


def _bounds(field: Pitch | None, places: Sequence[tuple[float, float, float]]) -> tuple[Points, Points]:
    """The least and the greatest x and y that are shown, in metres."""
    if field is None:
        ground = np.array([place[:2] for place in places] or [(0.0, 0.0)])
        return ground.min(axis=0), ground.max(axis=0)
    high = np.array([field.length, field.width]) / 2
    return -high, high


def _frame(low: Points, high: Points, width: int) -> tuple[float, Points, int]:
    """Pixels a metre, the place of the upper left corner in metres, and the height in pixels."""
    size = np.maximum(high - low, _LEAST_METRES)
    middle = (low + high) / 2
    margin = _MARGIN * size.max()
    scale = width / float(size[0] + 2 * margin)
    height = min(4 * width, max(1, round(float(size[1] + 2 * margin) * scale)))
    return scale, middle + np.array([-(size[0] / 2 + margin), height / scale / 2]), height


def _ground(
    field: Pitch | None, scale: float, origin: Points, size: tuple[int, int]
) -> tuple[Plot, Callable[[Any], Points]]:
    """A picture of the ground, and what makes pixels of places in metres: y goes up."""

    def at(places: Any) -> Points:
        return (np.asarray(places, np.float64)[..., :2] - origin) * (scale, -scale)

    plot = Plot(*size, _PLAIN if field is None else _BACKGROUNDS[field.kind])
    if field is None:
        _draw_grid(plot, origin, scale)
        _draw_scale(plot, scale)
        return plot, at
    for segment in (*field.lines.values(), *field.edges):
        plot.line(at(segment), _CHALK)
    for arc in field.arcs:
        plot.line(at(arc.points()), _CHALK)
    return plot, at


def _draw_grid(plot: Plot, origin: Points, scale: float) -> None:
    """Lines a round number of metres apart."""
    apart = _round_metres(plot, scale)
    for x in np.arange(np.ceil(origin[0] / apart), origin[0] / apart + plot.width / scale / apart) * apart:
        across = (x - origin[0]) * scale
        plot.line([[across, 0], [across, plot.height]], _GRID, width=1)
    for y in np.arange(np.floor(origin[1] / apart), origin[1] / apart - plot.height / scale / apart, -1) * apart:
        down = (origin[1] - y) * scale
        plot.line([[0, down], [plot.width, down]], _GRID, width=1)


def _round_metres(plot: Plot, scale: float) -> float:
    """An eighth of the picture's width or a little more, in metres: 1, 2 or 5, times a power of ten."""
    metres = plot.width / scale / 8
    magnitude = 10.0 ** np.floor(np.log10(metres))
    return float(magnitude * next(round_one for round_one in (1, 2, 5, 10) if round_one * magnitude >= metres))


def _draw_scale(plot: Plot, scale: float) -> None:
    """A bar in the lower left corner, as long as the grid's lines are apart, and how long that is."""
    metres = max(1, round(_round_metres(plot, scale)))
    unit = plot.width / 100
    left, right, low = 2 * unit, 2 * unit + metres * scale, plot.height - 2 * unit
    plot.line([[left, low - unit], [left, low], [right, low], [right, low - unit]], _CHALK)
    plot.metres(metres, (left + right) / 2, low - 1.2 * unit, _CHALK, height=1.3 * unit)
