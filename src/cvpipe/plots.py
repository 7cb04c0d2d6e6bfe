"""Pictures of lines, dots and numbers, as SVG and as PNG, in plain NumPy.

Coordinates are pixels from the upper left corner, colours are (red, green, blue). What was put in later lies on top.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.png import encode_png

Colour = tuple[int, int, int]
Points = npt.NDArray[np.float64]

_GOLDEN: Final = 0.618033988749895
_CURVE: Final = 24
_STROKES: Final = {
    "0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc",
    "8": "abcdefg", "9": "abcdfg", "m": "egch", " ": "",
}  # fmt: skip
_SEGMENTS: Final = {  # of a digit half as wide as it is high
    "a": ((0, 0), (0.5, 0)), "b": ((0.5, 0), (0.5, 0.5)), "c": ((0.5, 0.5), (0.5, 1)), "d": ((0, 1), (0.5, 1)),
    "e": ((0, 0.5), (0, 1)), "f": ((0, 0), (0, 0.5)), "g": ((0, 0.5), (0.5, 0.5)), "h": ((0.25, 0.5), (0.25, 1)),
}  # fmt: skip


def colour_of(number: int) -> Colour:
    """A bright colour, far from those of the numbers next to it."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.72, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


@dataclass(frozen=True, slots=True, eq=False)
class _Stroke:
    """points: (n, 2); one is a dot. width: of the line."""

    points: Points
    colour: Colour
    width: float
    opacity: float


@dataclass(frozen=True, slots=True)
class _Number:
    """text: digits, spaces and `m`. x, y: its middle. height: of its digits."""

    text: str
    x: float
    y: float
    colour: Colour
    height: float


@dataclass(slots=True)
class Plot:
    """A picture to draw into; width, height: in pixels."""

    width: int
    height: int
    background: Colour
    _shapes: list[_Stroke | _Number] = field(default_factory=list)

    def line(self, points: npt.ArrayLike, colour: Colour, *, width: float = 2.0, opacity: float = 1.0) -> None:
        """A line through points (n, 2)."""
        self._shapes.append(_Stroke(np.asarray(points, np.float64).reshape(-1, 2), colour, width, opacity))

    def dot(self, x: float, y: float, colour: Colour, *, radius: float = 4.0) -> None:
        """A filled circle."""
        self._shapes.append(_Stroke(np.array([[x, y]], np.float64), colour, 2 * radius, 1.0))

    def ellipse(self, x: float, y: float, covariance: Points, colour: Colour, *, deviations: float = 2.0) -> None:
        """So many standard deviations about a point; covariance: (2, 2), in square pixels."""
        values, axes = np.linalg.eigh(covariance)
        turn = np.linspace(0, 2 * np.pi, _CURVE + 1)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        self.line([x, y] + deviations * circle * np.sqrt(np.maximum(values, 0)) @ axes.T, colour, width=1.5)

    def number(self, value: int, x: float, y: float, colour: Colour, *, height: float = 12.0) -> None:
        """A number that is not negative, its middle at x, y."""
        self._shapes.append(_Number(str(value), x, y, colour, height))

    def metres(self, value: int, x: float, y: float, colour: Colour, *, height: float = 12.0) -> None:
        """A length, `20 m`, its middle at x, y."""
        self._shapes.append(_Number(f"{value} m", x, y, colour, height))

    def to_svg(self) -> str:
        """The picture as an SVG document."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f'<rect width="100%" height="100%" fill="{_hex(self.background)}"/>',
        ]
        for shape in self._shapes:
            if isinstance(shape, _Number):
                parts.append(
                    f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" fill="{_hex(shape.colour)}" '
                    f'font-family="sans-serif" font-size="{shape.height * 1.3:.1f}" text-anchor="middle" '
                    f'dominant-baseline="central">{escape(shape.text)}</text>'
                )
            elif len(shape.points) == 1:
                (x, y), radius = shape.points[0], shape.width / 2
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_hex(shape.colour)}"/>')
            elif len(shape.points):
                way = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points.tolist())
                parts.append(
                    f'<polyline points="{way}" fill="none" stroke="{_hex(shape.colour)}" '
                    f'stroke-width="{shape.width:g}" stroke-opacity="{shape.opacity:g}" stroke-linejoin="round" '
                    'stroke-linecap="round"/>'
                )
        return "\n".join([*parts, "</svg>", ""])

    def to_png(self) -> bytes:
        """The picture as a PNG file; the same bytes on every machine."""
        return encode_png(self.to_image())

    def to_image(self, below: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """The picture, (height, width, 3) RGB; with `below`, one of the same size, drawn over that."""
        image = np.empty((self.height, self.width, 3), np.float32)
        image[:] = self.background if below is None else below
        for shape in self._shapes:
            if isinstance(shape, _Number):
                for stroke in _digits(shape):
                    _paint(image, stroke)
            else:
                _paint(image, shape)
        return image.round().astype(np.uint8)


def _digits(number: _Number) -> list[_Stroke]:
    """A number as lines, each digit of up to seven."""
    text = number.text
    step = 0.8 * number.height
    left = number.x - (len(text) * step - 0.3 * number.height) / 2
    strokes = []
    for place, digit in enumerate(text):
        corner = np.array([left + place * step, number.y - number.height / 2])
        for name in _STROKES[digit]:
            points = corner + number.height * np.array(_SEGMENTS[name])
            strokes.append(_Stroke(points, number.colour, max(1.2, number.height / 7), 1.0))
    return strokes


def _paint(image: npt.NDArray[np.float32], stroke: _Stroke) -> None:
    """Draw a line in place, its edges smooth: a pixel is covered by how near its middle is to the line."""
    points, half = stroke.points, stroke.width / 2
    if not len(points):
        return
    reach = half + 1
    low = np.floor(points.min(axis=0) - reach).astype(int).clip(0)
    high = np.ceil(points.max(axis=0) + reach).astype(int).clip(0, (image.shape[1], image.shape[0]))
    if (high <= low).any():
        return
    cover = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
    ends = points[1:] if len(points) > 1 else points
    for first, last in zip(points, ends, strict=False):
        corner = (np.floor(np.minimum(first, last) - reach).astype(int) - low).clip(0)
        stop = np.ceil(np.maximum(first, last) + reach).astype(int) - low
        part = cover[corner[1] : max(0, stop[1]), corner[0] : max(0, stop[0])]
        if not part.size:
            continue
        y = np.arange(part.shape[0])[:, None] + corner[1] + low[1] + 0.5 - first[1]
        x = np.arange(part.shape[1])[None] + corner[0] + low[0] + 0.5 - first[0]
        across, down = last - first
        length = across * across + down * down
        share = np.clip((x * across + y * down) / length, 0, 1) if length > 0 else 0.0
        distance = np.hypot(x - share * across, y - share * down)
        np.maximum(part, np.clip(half + 0.5 - distance, 0, 1), out=part)
    target = image[low[1] : high[1], low[0] : high[0]]
    target += (np.array(stroke.colour, np.float32) - target) * (cover * stroke.opacity)[:, :, None]


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
