"""Shapes with soft edges: what the demo's street is drawn with.

A `Canvas` is several times as fine as the picture that it becomes; shrinking it makes every edge smooth. Coordinates
are pixels of the finished picture, colours are (red, green, blue).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
Picture = npt.NDArray[np.float32]
"""(height, width, 4): red, green, blue, each times alpha; alpha. 0 to 1."""
Cover = npt.NDArray[np.uint8]
"""(height, width), 0 to 255."""

_SHIFT = 4  # bits after the point in OpenCV's coordinates


class Canvas:
    """A picture in the making; empty (see-through) at first."""

    def __init__(self, width: int, height: int, *, fineness: int = 4) -> None:
        self.size = (width, height)
        self.fineness = fineness
        self._pixels: Picture = np.zeros((height * fineness, width * fineness, 4), np.float32)
        self._solid: Cover = np.zeros((height * fineness, width * fineness), np.uint8)

    def finish(self) -> Picture:
        """The picture, (height, width, 4)."""
        return np.asarray(cv2.resize(self._pixels, self.size, interpolation=cv2.INTER_AREA), np.float32)

    def solid(self) -> Cover:
        """How much of each pixel opaque shapes cover, (height, width) uint8; shadows and glows are none."""
        return np.asarray(cv2.resize(self._solid, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def polygon(self, points: Points, colour: Colour, *, opacity: float = 1.0, rounds: int = 0) -> None:
        """A filled polygon; `rounds` cuts its corners so many times, which makes them round."""
        path = np.array(points, np.float64)
        for _ in range(rounds):
            after = np.roll(path, -1, axis=0)
            path = np.stack((0.8 * path + 0.2 * after, 0.2 * path + 0.8 * after), axis=1).reshape(-1, 2)
        self._fill(path, colour, opacity)

    def rectangle(
        self, x1: float, y1: float, x2: float, y2: float, colour: Colour, *, opacity: float = 1.0, radius: float = 0
    ) -> None:
        """A filled rectangle, its corners rounded by `radius`."""
        corners = [(x1, y1, 180), (x2, y1, 270), (x2, y2, 0), (x1, y2, 90)]
        if not radius:
            self._fill(np.array([corner[:2] for corner in corners]), colour, opacity)
            return
        path = []
        for x, y, begin in corners:
            turn = np.deg2rad(np.linspace(begin, begin + 90, 9))
            middle = (min(max(x, x1 + radius), x2 - radius), min(max(y, y1 + radius), y2 - radius))
            path.append(np.stack((middle[0] + radius * np.cos(turn), middle[1] + radius * np.sin(turn)), axis=1))
        self._fill(np.concatenate(path), colour, opacity)

    def ellipse(
        self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour, *, opacity: float = 1.0
    ) -> None:
        """A filled ellipse around (x, y)."""
        turn = np.linspace(0, 2 * np.pi, 73)[:-1]
        self._fill(np.stack((x + radius_x * np.cos(turn), y + radius_y * np.sin(turn)), axis=1), colour, opacity)

    def line(self, points: Points, colour: Colour, *, width: float, opacity: float = 1.0) -> None:
        """Straight strokes from point to point."""
        for (x1, y1), (x2, y2) in pairwise(points):
            length = max(1e-6, float(np.hypot(x2 - x1, y2 - y1)))
            across, along = (y1 - y2) / length * width / 2, (x2 - x1) / length * width / 2
            self._fill(
                np.array(
                    [
                        (x1 + across, y1 + along),
                        (x2 + across, y2 + along),
                        (x2 - across, y2 - along),
                        (x1 - across, y1 - along),
                    ]
                ),
                colour,
                opacity,
            )

    def limb(self, points: Points, colour: Colour, *, width: float) -> None:
        """Strokes from point to point, round at the ends and where they meet."""
        self.line(points, colour, width=width)
        for x, y in points:
            self.ellipse(x, y, width / 2, width / 2, colour)

    def glow(self, x: float, y: float, radius: float, colour: Colour, *, opacity: float) -> None:
        """Light that fades from (x, y) to nothing at `radius`."""
        fine = self.fineness
        height, width = self._pixels.shape[:2]
        top, bottom = np.clip([(y - radius) * fine, (y + radius) * fine], 0, height).astype(int)
        left, right = np.clip([(x - radius) * fine, (x + radius) * fine], 0, width).astype(int)
        rows = np.arange(top, bottom, dtype=np.float32)[:, None] / fine - y
        columns = np.arange(left, right, dtype=np.float32) / fine - x
        fade = np.clip(1 - np.sqrt(rows**2 + columns**2) / radius, 0, 1) ** 2
        self._blend((slice(top, bottom), slice(left, right)), (fade * opacity).astype(np.float32), colour)

    def lay(self, other: Canvas, *, opacity: float) -> None:
        """Another canvas of the same size over this one."""
        over = other._pixels * opacity
        self._pixels *= 1 - over[..., 3:]
        self._pixels += over

    def fade(self, top: float, bottom: float, stops: Sequence[Colour]) -> None:
        """All of the width from `top` to `bottom`, from the first colour to the last."""
        y1, y2 = round(top * self.fineness), round(bottom * self.fineness)
        place = np.linspace(0, len(stops) - 1, y2 - y1)
        for channel in range(3):
            column = np.interp(place, np.arange(len(stops)), [stop[channel] / 255 for stop in stops])
            self._pixels[y1:y2, :, channel] = column[:, None]
        self._pixels[y1:y2, :, 3] = 1

    def text(
        self, text: str, x: float, y: float, height: float, colour: Colour, *, widest: float | None = None
    ) -> tuple[float, float, float, float]:
        """Text with capitals `height` pixels tall, its middle at (x, y), made narrower where it is over `widest`.

        Returns its box, x1, y1, x2, y2.
        """
        mask = _letters(text)
        width = mask.shape[1] * height / mask.shape[0]
        if widest is not None:
            width = min(width, widest)
        fine = self.fineness
        size = (max(1, round(width * fine)), max(1, round(height * fine)))
        cover = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
        left, top = round(x * fine - size[0] / 2), round(y * fine - size[1] / 2)
        part = (slice(top, top + size[1]), slice(left, left + size[0]))
        self._blend(part, cover, colour)
        return (left / fine, top / fine, (left + size[0]) / fine, (top + size[1]) / fine)

    def mirror(self) -> None:
        """Swap left and right of what is there so far."""
        self._pixels = np.ascontiguousarray(self._pixels[:, ::-1])
        self._solid = np.ascontiguousarray(self._solid[:, ::-1])

    def _fill(self, path: npt.NDArray[np.float64], colour: Colour, opacity: float) -> None:
        path = path * self.fineness
        height, width = self._pixels.shape[:2]
        low = np.clip(np.floor(path.min(axis=0)).astype(int) - 1, 0, (width, height))
        high = np.clip(np.ceil(path.max(axis=0)).astype(int) + 2, 0, (width, height))
        if (high <= low).any():
            return
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillPoly(mask, [np.round((path - low) * 2**_SHIFT).astype(np.int32)], (255,), cv2.LINE_8, _SHIFT)
        part = (slice(low[1], high[1]), slice(low[0], high[0]))
        self._blend(part, mask.astype(np.float32) * np.float32(opacity / 255), colour)
        if opacity == 1:
            np.maximum(self._solid[part], mask, out=self._solid[part])

    def _blend(self, part: tuple[slice, slice], cover: npt.NDArray[np.float32], colour: Colour) -> None:
        under = self._pixels[part]
        over = np.array([*(channel / 255 for channel in colour), 1], np.float32)
        under += cover[..., None] * (over - under)


def _letters(text: str) -> npt.NDArray[np.uint8]:
    """Cover, 0 to 255, of a line of text, cut close on all sides."""
    scale, thickness = 6.0, 14
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
    mask = np.zeros((2 * height + below, width + height), np.uint8)
    cv2.putText(
        mask, text, (height // 2, height + height // 2), cv2.FONT_HERSHEY_DUPLEX, scale, (255,), thickness, cv2.LINE_AA
    )
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def place(picture: npt.NDArray[np.uint8], part: Picture, x: float, y: float) -> None:
    """Lay `part` over `picture`, (height, width, 3) uint8, its top left corner at (x, y), to a fraction of a pixel."""
    left, top = int(np.floor(x)), int(np.floor(y))
    height, width = part.shape[0] + 1, part.shape[1] + 1
    shift = np.array([[1, 0, x - left], [0, 1, y - top]], np.float32)
    moved = cv2.warpAffine(part, shift, (width, height), flags=cv2.INTER_LINEAR)
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x2 <= x1 or y2 <= y1:
        return
    over = moved[y1 - top : y2 - top, x1 - left : x2 - left]
    under = picture[y1:y2, x1:x2]
    under[...] = np.round(under * (1 - over[..., 3:]) + over[..., :3] * 255).astype(np.uint8)
