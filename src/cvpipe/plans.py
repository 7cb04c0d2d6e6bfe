"""Plans: the ground from above as a picture, on the lines of a pitch or on a grid of metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.pitches import Pitch
from cvpipe.plots import Colour, Plot, Points

MARGIN: Final = 0.05
"""Of the longer side of what is shown, on each side."""
CHALK: Final[Colour] = (235, 235, 235)
PLAIN: Final[Colour] = (40, 44, 52)
_TURF: Final[Colour] = (44, 104, 60)
_WOOD: Final[Colour] = (150, 98, 58)
_CLAY: Final[Colour] = (40, 86, 130)
_ICE: Final[Colour] = (60, 84, 108)
_GRID: Final[Colour] = (90, 96, 108)
_BACKGROUNDS: Final[dict[str, Colour]] = {
    "football": _TURF, "basketball": _WOOD, "basketball-nba": _WOOD, "tennis": _CLAY, "ice-hockey": _ICE,
    "ice-hockey-nhl": _ICE,
}  # fmt: skip
_LEAST_METRES: Final = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How places on the ground lie in a picture of it, in which y goes up.

    scale: pixels a metre. origin: the place of the upper left corner, in metres. field: the pitch, if there is one.
    """

    width: int
    height: int
    scale: float
    origin: Points
    field: Pitch | None

    @classmethod
    def around(
        cls,
        places: Sequence[tuple[float, float]] | Points,
        *,
        field: Pitch | None,
        width: int,
        height: int | None = None,
    ) -> Self:
        """A picture of the pitch, or else of what is around places (n, 2) in metres.

        width, height: in pixels; without a height the picture is as high as what it shows.
        """
        low, high = _bounds(field, places)
        size = np.maximum(high - low, _LEAST_METRES)
        middle = (low + high) / 2
        margin = MARGIN * size.max()
        scale = width / float(size[0] + 2 * margin)
        needed = min(4 * width, max(1, round(float(size[1] + 2 * margin) * scale)))
        if height is not None and needed > height:
            scale *= height / needed
        high_pixels = needed if height is None else height
        return cls(width, high_pixels, scale, middle + np.array([-width, high_pixels]) / scale / 2, field)

    @classmethod
    def within(cls, places: Sequence[tuple[float, float]] | Points, *, field: Pitch | None, side: int) -> Self:
        """As `around`, the longer side so many pixels."""
        plan = cls.around(places, field=field, width=side)
        if plan.height <= side:
            return plan
        return cls.around(places, field=field, width=max(1, int(side * side / plan.height)))

    def pixels(self, places: npt.ArrayLike) -> Points:
        """Where places (n, 2) in metres are in the picture, (n, 2)."""
        return (np.asarray(places, np.float64).reshape(-1, 2) - self.origin) * (self.scale, -self.scale)

    def plot(self) -> Plot:
        """The picture: the lines of the pitch, or lines a round number of metres apart."""
        field = self.field
        plot = Plot(self.width, self.height, PLAIN if field is None else _BACKGROUNDS[field.kind])
        if field is None:
            self._draw_grid(plot)
            self._draw_scale(plot)
            return plot
        for segment in (*field.lines.values(), *field.edges):
            plot.line(self.pixels(segment), CHALK)
        for arc in field.arcs:
            plot.line(self.pixels(arc.points()), CHALK)
        return plot

    def _draw_grid(self, plot: Plot) -> None:
        apart, origin, scale = self._round_metres(), self.origin, self.scale
        for x in np.arange(np.ceil(origin[0] / apart), origin[0] / apart + self.width / scale / apart) * apart:
            across = (x - origin[0]) * scale
            plot.line([[across, 0], [across, self.height]], _GRID, width=1)
        for y in np.arange(np.floor(origin[1] / apart), origin[1] / apart - self.height / scale / apart, -1) * apart:
            down = (origin[1] - y) * scale
            plot.line([[0, down], [self.width, down]], _GRID, width=1)

    def _draw_scale(self, plot: Plot) -> None:
        """A bar in the lower left corner, as long as the grid's lines are apart, and how long that is."""
        metres = max(1, round(self._round_metres()))
        unit = self.width / 100
        left, right, low = 2 * unit, 2 * unit + metres * self.scale, self.height - 2 * unit
        plot.line([[left, low - unit], [left, low], [right, low], [right, low - unit]], CHALK)
        plot.metres(metres, (left + right) / 2, low - 1.2 * unit, CHALK, height=1.3 * unit)

    def _round_metres(self) -> float:
        """An eighth of the picture's width or a little more, in metres: 1, 2 or 5, times a power of ten."""
        metres = self.width / self.scale / 8
        magnitude = 10.0 ** np.floor(np.log10(metres))
        return float(magnitude * next(round_one for round_one in (1, 2, 5, 10) if round_one * magnitude >= metres))


def _bounds(field: Pitch | None, places: Sequence[tuple[float, float]] | Points) -> tuple[Points, Points]:
    """The least and the greatest x and y that are shown, in metres."""
    if field is None:
        ground = np.asarray(places if len(places) else [(0.0, 0.0)], np.float64)
        return ground.min(axis=0), ground.max(axis=0)
    high = np.array([field.length, field.width]) / 2
    return -high, high
