"""The cars of the demo, from the side, each with a number plate on its door."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np

from examples.demo.drawing import Canvas, Colour, Cover, Picture, Points
from examples.demo.layers import Figure
from examples.demo.street import Box

Shape = Literal["saloon", "hatchback", "van", "taxi"]

_WIDTH: Final = 252
_HEIGHT: Final = 112
_LEFT: Final = 20.0  # of the car on its canvas
_GROUND: Final = 102.0
_WHEEL: Final = 15.5
_GLASS: Colour = (126, 170, 196)
_DARK: Colour = (34, 36, 48)
_RUBBER: Colour = (28, 28, 36)


@dataclass(frozen=True, slots=True)
class Car:
    """A car's picture, its wheels apart because they turn. Boxes and places are pixels of `body`.

    solid: how much of each pixel it hides, (height, width) uint8. box: the car. plate_box: the number plate. ground:
    where the wheels touch the road.
    """

    body: Picture
    solid: Cover
    wheel: Picture
    wheels: tuple[tuple[float, float], ...]
    box: Box
    plate_box: Box
    ground: float

    def figure(self, gone: float) -> Figure:
        """The car after it has `gone` so many pixels; it stands on its canvas's left edge."""
        picture = self.body.copy()
        side = self.wheel.shape[0]
        middle = (side - 1) / 2
        for x, y in self.wheels:
            left, top = math.floor(x - side / 2), math.floor(y - side / 2)
            turn = cv2.getRotationMatrix2D((middle, middle), -math.degrees(gone / _WHEEL), 1)
            turn[:, 2] += (x - side / 2 - left, y - side / 2 - top)
            wheel = cv2.warpAffine(self.wheel, turn, (side + 1, side + 1), flags=cv2.INTER_LINEAR)
            under = picture[top : top + side + 1, left : left + side + 1]
            wheel = wheel[: under.shape[0], : under.shape[1]]
            under[...] = wheel + under * (1 - wheel[..., 3:])
        return Figure("car", picture, self.solid, (0.0, self.ground))


def draw_car(shape: Shape, colour: Colour, plate: str, *, facing_left: bool) -> Car:
    """A car with a plate that reads `plate`, whichever way it faces."""
    canvas = Canvas(_WIDTH, _HEIGHT)
    length, top, axles, plate_at = _SHAPES[shape](canvas, colour)
    middle = _LEFT + plate_at
    if facing_left:
        canvas.mirror()
        axles = tuple(_WIDTH - x for x in axles)
        middle = _WIDTH - middle
    plate_box = _plate(canvas, plate, middle, 75.5)
    left = _WIDTH - _LEFT - length if facing_left else _LEFT
    return Car(
        body=canvas.finish(),
        solid=canvas.solid(),
        wheel=_draw_wheel(),
        wheels=tuple((x, _GROUND - _WHEEL) for x in axles),
        box=(left, top, left + length, _GROUND),
        plate_box=plate_box,
        ground=_GROUND,
    )


def _plate(canvas: Canvas, text: str, x: float, y: float) -> Box:
    half_x, half_y = 46.0, 12.0
    box = (x - half_x, y - half_y, x + half_x, y + half_y)
    canvas.rectangle(box[0] - 1.5, box[1] - 1.5, box[2] + 1.5, box[3] + 1.5, _DARK, radius=4)
    canvas.rectangle(*box, (250, 250, 244), radius=3)
    canvas.text(text, x, y, 14.5, (18, 20, 32), widest=2 * half_x - 12)
    return box


def _draw_wheel() -> Picture:
    side = round(2 * _WHEEL) + 4
    middle = side / 2
    canvas = Canvas(side, side)
    canvas.ellipse(middle, middle, _WHEEL, _WHEEL, _RUBBER)
    canvas.ellipse(middle, middle, 10, 10, (196, 200, 210))
    for spoke in range(5):
        turn = 2 * np.pi * spoke / 5
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        points = [middle + 9 * along + 3.2 * across, middle + 9 * along - 3.2 * across, middle + 3 * along]
        canvas.polygon([(float(px), float(py)) for px, py in points], (82, 86, 100))
    canvas.ellipse(middle, middle, 3, 3, (120, 124, 136))
    return canvas.finish()


def _move(points: Points) -> list[tuple[float, float]]:
    """From a car's own coordinates (rear bumper 0, road 0, upwards negative) to its canvas."""
    return [(_LEFT + x, _GROUND + y) for x, y in points]


def _darker(colour: Colour, by: float) -> Colour:
    red, green, blue = (round(channel * by) for channel in colour)
    return (red, green, blue)


def _body(canvas: Canvas, colour: Colour, outline: Points, axles: tuple[float, float], length: float) -> None:
    """What all cars have: shadow, body, sill, arches, lights and handles."""
    canvas.ellipse(_LEFT + length / 2, _GROUND + 1, length / 2 + 4, 5.5, (18, 18, 28), opacity=0.5)
    canvas.glow(_LEFT + length + 6, _GROUND - 32, 24, (255, 244, 200), opacity=0.75)
    canvas.polygon(_move(outline), colour, rounds=3)
    canvas.rectangle(_LEFT + 1, _GROUND - 19, _LEFT + length - 1, _GROUND - 10, _darker(colour, 0.62), radius=3)
    canvas.line(_move([(8, -44), (length - 14, -43)]), (255, 255, 255), width=1.6, opacity=0.4)
    for axle in axles:
        canvas.ellipse(_LEFT + axle, _GROUND - 16, _WHEEL + 3.5, _WHEEL + 4, _DARK)
    canvas.polygon(
        _move([(length - 15, -38), (length - 3, -34), (length - 3, -27), (length - 12, -28)]), (255, 248, 214), rounds=2
    )
    canvas.polygon(_move([(1, -40), (8, -41), (9, -29), (1, -28)]), (224, 54, 54), rounds=2)


def _panes(canvas: Canvas, *panes: Points) -> None:
    for pane in panes:
        path = _move(pane)
        canvas.polygon(path, _GLASS, rounds=2)
        (x1, y1), (x2, y2), (x3, _) = path[0], path[1], path[2]
        canvas.polygon(
            [(x2 + 4, y2 + 1), (min(x3, x2 + 15), y2 + 1), (x1 + 13, y1 - 1), (x1 + 4, y1 - 1)],
            (255, 255, 255),
            opacity=0.35,
        )


def _saloon(canvas: Canvas, colour: Colour) -> tuple[float, float, tuple[float, ...], float]:
    outline = [
        (0, -12),
        (0, -42),
        (10, -47),
        (38, -49),
        (64, -73),
        (116, -74),
        (146, -49),
        (182, -44),
        (192, -36),
        (193, -12),
    ]
    _body(canvas, colour, outline, (36, 155), 193)
    _panes(canvas, [(45, -50), (66, -69), (88, -70), (88, -50)], [(93, -50), (93, -70), (114, -69), (135, -50)])
    _handles(canvas, colour, (50, 140))
    return 193, _GROUND - 74, (_LEFT + 36, _LEFT + 155), 95.5


def _taxi(canvas: Canvas, colour: Colour) -> tuple[float, float, tuple[float, ...], float]:
    canvas.rectangle(_LEFT + 78, _GROUND - 82, _LEFT + 106, _GROUND - 70, (255, 240, 190), radius=3)
    canvas.rectangle(_LEFT + 78, _GROUND - 74, _LEFT + 106, _GROUND - 70, _DARK)
    length, _, axles, plate_at = _saloon(canvas, colour)
    for column in range(26):
        x = _LEFT + 8 + column * 6.6
        canvas.rectangle(x, _GROUND - (46 if column % 2 else 43), x + 6.6, _GROUND - (43 if column % 2 else 40), _DARK)
    return length, _GROUND - 82, axles, plate_at


def _hatchback(canvas: Canvas, colour: Colour) -> tuple[float, float, tuple[float, ...], float]:
    outline = [(0, -12), (0, -44), (14, -70), (28, -76), (96, -76), (130, -50), (166, -44), (177, -34), (178, -12)]
    _body(canvas, colour, outline, (30, 148), 178)
    _panes(canvas, [(17, -51), (27, -70), (58, -71), (58, -51)], [(63, -51), (63, -71), (94, -71), (119, -51)])
    _handles(canvas, colour, (36, 126))
    return 178, _GROUND - 76, (_LEFT + 30, _LEFT + 148), 89.0


def _van(canvas: Canvas, colour: Colour) -> tuple[float, float, tuple[float, ...], float]:
    outline = [(0, -12), (0, -90), (6, -96), (132, -96), (146, -92), (170, -54), (192, -46), (196, -36), (196, -12)]
    _body(canvas, colour, outline, (36, 160), 196)
    _panes(canvas, [(126, -54), (128, -86), (143, -86), (163, -54)])
    canvas.line(_move([(120, -88), (120, -24)]), _darker(colour, 0.7), width=1.4)
    canvas.rectangle(_LEFT + 8, _GROUND - 84, _LEFT + 112, _GROUND - 64, _darker(colour, 0.86), radius=4)
    canvas.ellipse(_LEFT + 26, _GROUND - 74, 6.5, 6.5, (250, 246, 232))
    for number, width in enumerate((62, 44)):
        canvas.rectangle(
            _LEFT + 40,
            _GROUND - 79 + number * 6.4,
            _LEFT + 40 + width,
            _GROUND - 76 + number * 6.4,
            (250, 246, 232),
            radius=1.4,
        )
    return 196, _GROUND - 96, (_LEFT + 36, _LEFT + 160), 98.0


def _handles(canvas: Canvas, colour: Colour, doors: tuple[float, float]) -> None:
    for x in doors:
        canvas.line(_move([(x, -48), (x, -22)]), _darker(colour, 0.7), width=1.2)


_SHAPES: dict[Shape, Callable[[Canvas, Colour], tuple[float, float, tuple[float, ...], float]]] = {
    "saloon": _saloon,
    "hatchback": _hatchback,
    "van": _van,
    "taxi": _taxi,
}
