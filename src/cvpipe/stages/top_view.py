"""`top_view`: the ways of all tracks over the ground, seen from above."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.camera import CameraSpec
from cvpipe.errors import InvalidPipeline
from cvpipe.geometry.pitches import Pitch, pitch
from cvpipe.plots import Colour, Plot, colour_of
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


class TopViewOptions(StageOptions):
    """Options of `top_view`."""

    type: Literal["top_view"] = "top_view"
    of: str = Field(default="to_world", description="Name of the stage `to_world` whose places are drawn.")
    width: int = Field(default=1200, ge=100, le=8000, description="Of the picture, in pixels.")
    trail_seconds: float | None = Field(
        default=None, ge=0, description="How much of each way is drawn, back from its end. Default: all of it."
    )


class TopView(JobStage[TopViewOptions]):
    """Draw the ways of all tracks over the ground from above, on the lines of the camera's pitch: SVG and PNG.

    Each way ends in a dot with the number of its track, and in an ellipse of two standard deviations of where that is.
    Without a pitch there is a grid, its lines a round number of metres apart: 1, 2 or 5, times a power of ten; a bar in
    the corner says how many (one metre at least).
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
        """Both pictures; with the stage's name in theirs where it has one of its own."""
        name = "top-view" if self.name in ("", self.options.type) else f"top-view-{self.name}"
        return (f"{name}.svg", f"{name}.png")

    def make(self, footage: Footage, folder: Path) -> None:
        """Draw both pictures. Memory: the corners of all ways."""
        plot = draw(
            footage.records(),
            self.options.of,
            field=self._pitch,
            width=self.options.width,
            trail_seconds=self.options.trail_seconds,
        )
        svg, png = self.files()
        (folder / svg).write_text(plot.to_svg(), encoding="utf-8")
        (folder / png).write_bytes(plot.to_png())


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
        for track, values in zip(record.objects.track.tolist(), record.objects.values, strict=True):
            value = (values or {}).get(stage)
            if track >= 0 and value is not None:
                ways.setdefault(track, _Way()).add(value, record.time, step=step)
    scale, origin, height = _frame(field, ways.values(), width)

    def at(places: Any) -> npt.NDArray[np.float64]:
        """Pixels of places in metres: y goes up."""
        return (np.asarray(places, np.float64)[..., :2] - origin) * (scale, -scale)

    plot = Plot(width, height, _PLAIN if field is None else _BACKGROUNDS[field.kind])
    if field is None:
        _draw_grid(plot, origin, scale)
    else:
        for segment in (*field.lines.values(), *field.edges):
            plot.line(at(segment), _CHALK)
        for arc in field.arcs:
            plot.line(at(arc.points()), _CHALK)
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
    if field is None:
        _draw_scale(plot, scale)
    return plot


def _frame(field: Pitch | None, ways: Iterable[_Way], width: int) -> tuple[float, npt.NDArray[np.float64], int]:
    """Pixels a metre, the place of the upper left corner in metres, and the height in pixels."""
    if field is None:
        places = np.array([place[:2] for way in ways for place in way.places] or [(0.0, 0.0)])
        low, high = places.min(axis=0), places.max(axis=0)
    else:
        high = np.array([field.length, field.width]) / 2
        low = -high
    size = np.maximum(high - low, _LEAST_METRES)
    middle = (low + high) / 2
    margin = _MARGIN * size.max()
    scale = width / float(size[0] + 2 * margin)
    height = min(4 * width, max(1, round(float(size[1] + 2 * margin) * scale)))
    return scale, middle + np.array([-(size[0] / 2 + margin), height / scale / 2]), height


def _draw_grid(plot: Plot, origin: npt.NDArray[np.float64], scale: float) -> None:
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
