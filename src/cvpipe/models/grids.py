"""The cells of grids that networks lay over their canvas, one grid for each stride."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def level_sizes(width: int, height: int, strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(columns, rows) of the grid of each stride over a canvas in pixels; a part of a cell counts as one."""
    return tuple((-(-width // stride), -(-height // stride)) for stride in strides)


def cell_count(width: int, height: int, strides: Sequence[int]) -> int:
    """How many cells all grids over a canvas have."""
    return sum(columns * rows for columns, rows in level_sizes(width, height, strides))


@lru_cache(maxsize=32)
def cells(width: int, height: int, strides: tuple[int, ...]) -> Floats:
    """(cells, 3): column, row and stride of each cell of a canvas, stride by stride, row by row."""
    levels: list[Floats] = []
    for stride, (columns, rows) in zip(strides, level_sizes(width, height, strides), strict=True):
        row, column = np.mgrid[:rows, :columns]
        levels.append(np.stack((column, row, np.full_like(row, stride)), axis=-1).reshape(-1, 3).astype(np.float32))
    table = np.concatenate(levels)
    table.setflags(write=False)
    return table
