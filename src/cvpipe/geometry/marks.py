"""What is known of the world in a picture: points of known places, and pixels on known lines of the ground."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def _none(columns: int) -> Points:
    return np.zeros((0, columns))


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Points and lines that were found in a picture.

    pixel: (n, 2), in pixels of the displayed source frame; world: (n, 3), where each is, in metres, z is up.
    on_line: (m, 2), pixels of points that lie somewhere on a line of the ground; line: (m, 3), a, b, c of that line,
    a x + b y + c = 0, of which (a, b) has the length 1.
    deviation: standard deviation of each pixel, across and down, in pixels.
    """

    pixel: Points = field(default_factory=lambda: _none(2))
    world: Points = field(default_factory=lambda: _none(3))
    on_line: Points = field(default_factory=lambda: _none(2))
    line: Points = field(default_factory=lambda: _none(3))
    deviation: float = 1.0

    def __post_init__(self) -> None:
        for name, rows, columns in (
            ("pixel", len(self.pixel), 2),
            ("world", len(self.pixel), 3),
            ("on_line", len(self.on_line), 2),
            ("line", len(self.on_line), 3),
        ):
            if getattr(self, name).shape != (rows, columns):
                raise ValueError(f"{name}: wanted {(rows, columns)}, got {getattr(self, name).shape}")
        if not self.deviation > 0:
            raise ValueError(f"the deviation must be positive, got {self.deviation}")

    @property
    def is_flat(self) -> bool:
        """Whether all points lie on the ground."""
        return not self.world[:, 2].any()


def line_through(first: npt.ArrayLike, second: npt.ArrayLike) -> Points:
    """The line a x + b y + c = 0 through two points of the ground: (3,), (a, b) of length 1."""
    (x1, y1), (x2, y2) = np.asarray(first, np.float64), np.asarray(second, np.float64)
    normal = np.array([y1 - y2, x2 - x1])
    length = float(np.hypot(*normal))
    if length == 0:
        raise ValueError(f"two different points make a line, got {first!r} twice")
    a, b = normal / length
    return np.array([a, b, -(a * x1 + b * y1)])
