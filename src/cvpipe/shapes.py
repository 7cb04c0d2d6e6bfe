"""Shapes: points of boxes, lines and polygons in the picture, and where they meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Coordinate = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Point: TypeAlias = tuple[Coordinate, Coordinate]
"""x and y: pixels of the displayed source frame, or with `units: relative` shares of its width and height."""

Anchor = Literal["center", "top_center", "bottom_center", "center_left", "center_right"]
"""A point of a box; `bottom_center` is where a person or a car stands."""

_ANCHORS: Final[dict[str, tuple[float, float]]] = {
    "center": (0.5, 0.5),
    "top_center": (0.5, 0.0),
    "bottom_center": (0.5, 1.0),
    "center_left": (0.0, 0.5),
    "center_right": (1.0, 0.5),
}


ShapeName = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][\w-]*$", description="Its name in results.")
]


class Line(BaseModel):
    """A line in the picture, from one point to another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ShapeName
    start: Point = Field(description="x and y of the one end.")
    end: Point = Field(
        description="x and y of the other end. Its right side is that as one looks from `start` to `end`."
    )

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.start == self.end:
            raise ValueError(f"line {self.name!r} has no length: `start` and `end` are both {list(self.start)}")
        return self


class Polygon(BaseModel):
    """An area of the picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ShapeName
    polygon: tuple[Point, ...] = Field(min_length=3, max_length=200, description="Its corners, x and y each, in order.")

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        x, y = np.array(self.polygon).T
        if not abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) > 0:
            raise ValueError(f"polygon {self.name!r} has no area")
        return self


def check_points(points: Iterable[Point], units: str) -> None:
    """Raises: ValueError where shares of the frame are not from 0 to 1."""
    for x, y in points:
        if units == "relative" and not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"[{x:g}, {y:g}] is no share of the frame, from 0 to 1; leave out `units` for pixels")


def check_names(shapes: Sequence[Line] | Sequence[Polygon]) -> None:
    """Raises: ValueError where two have one name."""
    names = [shape.name for shape in shapes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two are called {twice!r}; names must differ")


@dataclass(frozen=True, slots=True)
class Shape:
    """A line or a polygon that a stage looks at, to be drawn.

    stage: its name. name: of the shape. points: in pixels of the displayed source frame. is_closed: a polygon.
    """

    stage: str
    name: str
    points: tuple[tuple[float, float], ...]
    is_closed: bool


def in_pixels(points: Sequence[Point], units: str, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Points as pixels, (n, 2). size: width and height of the displayed source frame."""
    scale = (size[0], size[1]) if units == "relative" else (1, 1)
    return np.asarray(points, np.float64).reshape(-1, 2) * scale


def anchors(box: npt.NDArray[np.float32], anchor: str) -> npt.NDArray[np.float64]:
    """A point of each box (n, 4) x1, y1, x2, y2: (n, 2), in the same pixels."""
    across, down = _ANCHORS[anchor]
    corners = np.asarray(box, np.float64).round(2)
    x = corners[:, 0] + across * (corners[:, 2] - corners[:, 0])
    y = corners[:, 1] + down * (corners[:, 3] - corners[:, 1])
    return np.stack([x, y], axis=-1)


def inside(points: npt.NDArray[np.float64], polygon: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points (n, 2) lie in a polygon (k, 2), by the even-odd rule; (n,) bool.

    Of polygons that share an edge, a point on it lies in exactly one.
    """
    result = np.zeros(len(points), np.bool_)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        crosses = (y1 > y) != (y2 > y)
        result ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return result


def side(point: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> float:
    """How far a point (2,) lies from the line through two others, in pixels.

    Above 0: on the right as one looks from `start` to `end` at the picture; below 0: on the left.
    """
    along = end - start
    cross = along[0] * (point[1] - start[1]) - along[1] * (point[0] - start[0])
    return float(cross / np.hypot(along[0], along[1]))


def meets(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> bool:
    """Whether the way from a to b, which lie on different sides of the line, goes through it between its ends."""
    before, after = side(a, start, end), side(b, start, end)
    if before == after:
        return False
    crossing = a + (b - a) * (before / (before - after))
    along = end - start
    share = float((crossing - start) @ along / (along @ along))
    return 0 <= share <= 1


def distance_to_path(point: npt.NDArray[np.float64], path: npt.NDArray[np.float64]) -> float:
    """Least distance of a point (2,) from a line of corners (k, 2), in pixels."""
    starts, along = path[:-1], np.diff(path, axis=0)
    length = (along * along).sum(axis=1)
    share = np.clip(((point - starts) * along).sum(axis=1) / np.where(length > 0, length, 1), 0, 1)
    nearest = starts + share[:, None] * along
    return float(np.hypot(*(nearest - point).T).min())


def gaps(box: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Distances between the edges of boxes (n, 4) and others (m, 4), (n, m), in pixels; 0 where they overlap."""
    a, b = np.asarray(box, np.float64)[:, None], np.asarray(other, np.float64)[None]
    across = np.maximum(0, np.maximum(a[..., 0] - b[..., 2], b[..., 0] - a[..., 2]))
    down = np.maximum(0, np.maximum(a[..., 1] - b[..., 3], b[..., 1] - a[..., 3]))
    return np.hypot(across, down)
