"""The street of the demo: all that stands still, and the panels that light up."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from examples.demo.drawing import Canvas, Colour, Picture, place

Box = tuple[float, float, float, float]

WIDTH: Final = 854
HEIGHT: Final = 480
CLOCK_PANEL: Final[Box] = (194, 104, 292, 146)
SIGN_PANEL: Final[Box] = (368, 122, 636, 170)

_GROUND = 322
_KERB = 348
_INK: Colour = (30, 32, 48)
_WARM: Colour = (255, 214, 140)
_AMBER: Colour = (255, 190, 70)


def draw_street() -> npt.NDArray[np.uint8]:
    """The picture behind the cars, (height, width, 3) uint8 RGB."""
    canvas = Canvas(WIDTH, HEIGHT, fineness=3)
    _sky(canvas)
    _skyline(canvas)
    _house(canvas, 0, 142, 118, (178, 92, 74), shade=(150, 74, 62), awning=(222, 84, 72), name="BAKERY")
    _station(canvas)
    _hall(canvas)
    _tower(canvas, 652, 736, 66)
    _house(canvas, 736, 854, 150, (92, 116, 138), shade=(74, 94, 116), awning=(58, 150, 136), name="BOOKS")
    _pavement(canvas)
    _road(canvas)
    for x in (160, 336, 640):
        _tree(canvas, x)
    for x in (116, 442, 676):
        _lamp(canvas, x)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    place(picture, canvas.finish(), 0, 0)
    return picture


def draw_panel(panel: Box, text: str, colour: Colour = _AMBER) -> tuple[Picture, Box]:
    """A lit panel that shows `text`, and the box of the text in the picture of the street."""
    width, height = round(panel[2] - panel[0]), round(panel[3] - panel[1])
    canvas = Canvas(width, height)
    canvas.rectangle(0, 0, width, height, (58, 60, 78), radius=5)
    canvas.rectangle(3, 3, width - 3, height - 3, (16, 17, 26), radius=3)
    canvas.glow(width / 2, height / 2, width * 0.6, colour, opacity=0.16)
    box = canvas.text(text, width / 2, height / 2, height * 0.46, colour, widest=width - 18)
    return canvas.finish(), (panel[0] + box[0], panel[1] + box[1], panel[0] + box[2], panel[1] + box[3])


def _sky(canvas: Canvas) -> None:
    canvas.fade(0, _GROUND, [(62, 74, 138), (128, 104, 160), (226, 138, 136), (255, 190, 130), (255, 216, 150)])
    canvas.fade(_GROUND, HEIGHT, [(60, 62, 74), (60, 62, 74)])
    canvas.glow(338, 158, 200, (255, 236, 180), opacity=0.75)
    canvas.ellipse(338, 158, 24, 24, (255, 246, 214))
    clouds = Canvas(WIDTH, HEIGHT, fineness=canvas.fineness)
    for x, y, size in ((84, 66, 1.0), (372, 46, 0.8), (540, 78, 1.15), (782, 50, 0.95)):
        for along, up, radius in ((-34, 3, 15), (-14, -5, 21), (10, -2, 18), (34, 4, 13)):
            middle = (x + along * size, y + up * size)
            clouds.ellipse(*middle, radius * 1.7 * size, radius * 0.6 * size, (255, 220, 204))
    canvas.lay(clouds, opacity=0.5)


def _skyline(canvas: Canvas) -> None:
    rng = np.random.default_rng(11)
    for tone, tall, wide in (((176, 118, 142), 150, 44), ((128, 88, 122), 112, 34)):
        x = -10.0
        while x < WIDTH:
            width, top = rng.uniform(0.6, 1.4) * wide, _GROUND - rng.uniform(0.45, 1.0) * tall
            canvas.rectangle(x, top, x + width, _GROUND, tone)
            if rng.random() < 0.3:
                canvas.line([(x + width / 2, top), (x + width / 2, top - 16)], tone, width=2)
            x += width + rng.uniform(-2, 5)


def _windows(
    canvas: Canvas,
    area: Box,
    columns: int,
    rows: int,
    *,
    seed: int,
    frame: Colour,
    lit: float = 0.45,
    fill: float = 0.56,
) -> None:
    rng = np.random.default_rng(seed)
    x1, y1, x2, y2 = area
    step_x, step_y = (x2 - x1) / columns, (y2 - y1) / rows
    for row in range(rows):
        for column in range(columns):
            x, y = x1 + (column + 0.5) * step_x, y1 + (row + 0.5) * step_y
            half_x, half_y = step_x * fill / 2, step_y * fill / 2
            glass: Colour = (255, 218, 146) if rng.random() < lit else (74, 92, 124)
            canvas.rectangle(x - half_x - 1.5, y - half_y - 1.5, x + half_x + 1.5, y + half_y + 1.5, frame)
            canvas.rectangle(x - half_x, y - half_y, x + half_x, y + half_y, glass)
            canvas.polygon(
                [(x - half_x, y + half_y), (x - half_x, y - half_y), (x + half_x, y - half_y)],
                (255, 255, 255),
                opacity=0.14,
            )


def _house(
    canvas: Canvas, x1: float, x2: float, top: float, wall: Colour, *, shade: Colour, awning: Colour, name: str
) -> None:
    canvas.rectangle(x1, top, x2, _GROUND, wall)
    canvas.rectangle(x2 - 8, top, x2, _GROUND, shade)
    canvas.rectangle(x1 - 3, top - 7, x2 + 3, top + 3, shade)
    _windows(canvas, (x1 + 6, top + 10, x2 - 10, 244), 4, 3, seed=int(x1) + 3, frame=shade, fill=0.58)
    canvas.rectangle(x1 + 8, 246, x2 - 12, 264, _INK, radius=3)
    canvas.text(name, (x1 + x2) / 2 - 2, 255, 10.5, (255, 240, 210))
    canvas.rectangle(x1 + 8, 276, x2 - 12, _GROUND, (62, 50, 54))
    canvas.rectangle(x1 + 12, 282, x2 - 44, _GROUND - 6, _WARM)
    canvas.glow((x1 + x2) / 2 - 16, 306, 46, (255, 244, 210), opacity=0.5)
    canvas.rectangle(x2 - 38, 284, x2 - 18, _GROUND, (104, 70, 58))
    canvas.rectangle(x2 - 35, 288, x2 - 21, 304, _WARM)
    stripes = 9
    step = (x2 - x1 - 16) / stripes
    for stripe in range(stripes):
        left = x1 + 6 + stripe * step
        colour = awning if stripe % 2 == 0 else (250, 240, 226)
        canvas.polygon([(left + 2, 266), (left + step + 2, 266), (left + step, 284), (left, 284)], colour)
        canvas.ellipse(left + step / 2, 284, step / 2, 4, colour)


def _station(canvas: Canvas) -> None:
    wall, shade, roof = (226, 202, 166), (196, 168, 132), (86, 92, 116)
    canvas.rectangle(146, 196, 340, _GROUND, wall)
    canvas.polygon([(138, 198), (164, 168), (322, 168), (348, 198)], roof)
    canvas.rectangle(184, 84, 302, _GROUND, wall)
    canvas.rectangle(292, 84, 302, _GROUND, shade)
    canvas.polygon([(176, 86), (243, 34), (310, 86)], roof)
    canvas.line([(243, 34), (243, 14)], _INK, width=2)
    canvas.polygon([(244, 15), (262, 20), (244, 25)], (214, 72, 66))
    canvas.rectangle(180, 82, 306, 92, shade)
    canvas.rectangle(184, 160, 302, 166, shade)
    canvas.rectangle(186, 176, 300, 196, (46, 66, 104), radius=3)
    canvas.text("STATION", 243, 186, 11, (250, 240, 220))
    for x in (166, 320):
        canvas.rectangle(x - 9, 216, x + 9, 262, shade)
        canvas.rectangle(x - 7, 218, x + 7, 260, _WARM)
        canvas.ellipse(x, 218, 7, 7, _WARM)
        canvas.rectangle(x - 9, 276, x + 9, _GROUND, shade)
        canvas.rectangle(x - 7, 278, x + 7, _GROUND, (86, 74, 70))
    for x in (206, 243, 280):
        canvas.ellipse(x, 246, 14, 14, shade)
        canvas.rectangle(x - 14, 246, x + 14, _GROUND, shade)
        canvas.ellipse(x, 247, 11, 11, (255, 226, 164))
        canvas.rectangle(x - 11, 247, x + 11, _GROUND, (255, 206, 132))
        canvas.rectangle(x - 1, 238, x + 1, _GROUND, shade)
    canvas.rectangle(146, 206, 340, 210, shade, opacity=0.7)


def _hall(canvas: Canvas) -> None:
    wall, shade = (120, 96, 118), (96, 76, 98)
    for x in (408, 500, 592):
        canvas.rectangle(x - 3, 166, x + 3, 214, (66, 64, 82))
        canvas.line([(x - 16, 214), (x, 176), (x + 16, 214)], (66, 64, 82), width=2)
    canvas.rectangle(352, 212, 648, _GROUND, wall)
    canvas.rectangle(346, 206, 654, 216, shade)
    _windows(canvas, (360, 222, 640, 258), 9, 1, seed=5, frame=shade, lit=0.7, fill=0.7)
    canvas.rectangle(360, 270, 640, _GROUND, (58, 48, 62))
    for number in range(7):
        left = 366 + number * 39
        canvas.rectangle(left, 276, left + 34, _GROUND - 4, (255, 208, 138))
        canvas.polygon([(left, 300), (left, 276), (left + 20, 276)], (255, 255, 255), opacity=0.25)
    canvas.glow(500, 300, 130, (255, 236, 190), opacity=0.3)
    x1, y1, x2, y2 = SIGN_PANEL
    canvas.rectangle(x1 - 5, y1 - 5, x2 + 5, y2 + 5, (42, 42, 58), radius=7)
    canvas.glow((x1 + x2) / 2, (y1 + y2) / 2, 190, _AMBER, opacity=0.16)


def _tower(canvas: Canvas, x1: float, x2: float, top: float) -> None:
    canvas.rectangle(x1, top, x2, _GROUND, (104, 112, 158))
    canvas.rectangle(x2 - 14, top, x2, _GROUND, (84, 90, 134))
    canvas.line([((x1 + x2) / 2, top), ((x1 + x2) / 2, top - 34)], (84, 90, 134), width=3)
    canvas.ellipse((x1 + x2) / 2, top - 34, 2.5, 2.5, (255, 96, 88))
    _windows(canvas, (x1 + 4, top + 8, x2 - 4, 304), 5, 13, seed=23, frame=(84, 90, 134), lit=0.35, fill=0.62)
    canvas.rectangle(x1 + 24, 302, x2 - 24, _GROUND, _WARM)


def _pavement(canvas: Canvas) -> None:
    canvas.fade(_GROUND, _KERB, [(176, 158, 156), (146, 132, 138)])
    for x in range(-20, WIDTH + 40, 38):
        canvas.line([(x + 10, _GROUND), (x, _KERB)], (120, 108, 116), width=1, opacity=0.6)
    canvas.rectangle(0, _KERB - 4, WIDTH, _KERB, (206, 196, 190))
    canvas.rectangle(0, _KERB, WIDTH, _KERB + 3, (40, 41, 52))


def _road(canvas: Canvas) -> None:
    canvas.fade(_KERB + 3, HEIGHT, [(70, 70, 84), (58, 59, 72), (48, 49, 62)])
    rng = np.random.default_rng(3)
    for x, y, dark in zip(
        rng.uniform(0, WIDTH, 900), rng.uniform(_KERB + 4, HEIGHT, 900), rng.random(900), strict=True
    ):
        tone = 34 if dark < 0.5 else 96
        canvas.ellipse(x, y, 1.3, 0.6, (tone, tone, tone + 12), opacity=0.25)
    canvas.rectangle(0, _KERB + 9, WIDTH, _KERB + 11, (226, 220, 210), opacity=0.75)
    for x in range(-10, WIDTH, 76):
        canvas.polygon([(x + 2, 405), (x + 46, 405), (x + 44, 409), (x - 2, 409)], (240, 232, 214), opacity=0.9)
    canvas.rectangle(0, HEIGHT - 6, WIDTH, HEIGHT - 3, (226, 220, 210), opacity=0.6)


def _tree(canvas: Canvas, x: float) -> None:
    canvas.ellipse(x, _KERB - 12, 20, 3.5, _INK, opacity=0.35)
    canvas.polygon([(x - 3, _KERB - 12), (x - 2, 282), (x + 2, 282), (x + 3, _KERB - 12)], (92, 66, 58))
    for along, y, radius, tone in (
        (0, 274, 19, (70, 108, 84)),
        (-12, 284, 13, (62, 98, 78)),
        (12, 282, 14, (62, 98, 78)),
        (-4, 266, 12, (98, 138, 98)),
        (6, 274, 9, (112, 150, 104)),
    ):
        canvas.ellipse(x + along, y, radius, radius * 0.95, tone)


def _lamp(canvas: Canvas, x: float) -> None:
    canvas.line([(x, _KERB - 8), (x, 232)], _INK, width=3)
    canvas.line([(x, 233), (x + 17, 228)], _INK, width=2.4)
    canvas.polygon([(x + 12, 227), (x + 28, 224), (x + 28, 230), (x + 12, 231)], _INK)
    canvas.glow(x + 20, 234, 38, (255, 236, 180), opacity=0.75)
    canvas.ellipse(x + 20, 231, 7, 2.2, (255, 250, 224))
    canvas.rectangle(x - 4, _KERB - 12, x + 4, _KERB - 6, _INK)
