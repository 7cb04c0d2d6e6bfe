"""Whether a network answers on a small canvas as it does on its card's: cell by cell, on a made-up picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image

Floats = npt.NDArray[np.float32]
Outputs = tuple[npt.NDArray[Any], ...]

_MAP_STRIDES = (4, 2, 1, 8, 16, 32)
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (8,), (16,), (32,))


def trial_picture(width: int, height: int, *, seed: int = 0) -> Image:
    """A made-up picture in blocks of 16 pixels, so that each grid cell sees something of its own."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width])


def answers_alike(wide: Outputs, tight: Outputs, sizes: Sequence[tuple[int, int]]) -> bool:
    """Whether outputs for a picture on a wide canvas and on a tight one, of these (width, height), say the same."""
    levels: list[tuple[Floats, Floats]] = []
    for a, b in zip(wide, tight, strict=True):
        common = _common_cells(a, b, sizes)
        if common is None or not np.isfinite(b).all():
            return False
        levels += common
    # Judged on the finest cells: the coarse ones see all of the picture, and with it the padding.
    finest = max(b.shape[0] * b.shape[1] for _, b in levels)
    return all(_in_order(a, b) for a, b in levels if b.shape[0] * b.shape[1] == finest)


def _common_cells(full: Floats, small: Floats, sizes: Sequence[tuple[int, int]]) -> list[tuple[Floats, Floats]] | None:
    """The cells that two canvases share, the smaller one lying in the larger one's top left corner.

    full, small: an output for each canvas; sizes: (width, height) of each. For each stride (rows, columns, channels) of
    both; None where the outputs are neither lists of grid cells nor maps.
    """
    if full.ndim == small.ndim == 3 and len(full) == len(small):
        for stride in _MAP_STRIDES:  # channels of a map
            maps = [(height // stride, width // stride) for width, height in sizes]
            if [full.shape[1:], small.shape[1:]] == maps:
                high, wide = maps[1]
                return [(np.moveaxis(full, 0, 2)[:high, :wide], np.moveaxis(small, 0, 2))]
    changed = [axis for axis in range(full.ndim) if full.shape[axis] != small.shape[axis]]
    if full.ndim != small.ndim or len(changed) != 1:
        return None
    tables = [np.moveaxis(output, changed[0], 0).reshape(output.shape[changed[0]], -1) for output in (full, small)]
    for strides in _STRIDES:
        grids = [[(height // stride, width // stride) for stride in strides] for width, height in sizes]
        if [len(table) for table in tables] == [sum(rows * columns for rows, columns in grid) for grid in grids]:
            break
    else:
        return None
    levels = []
    for level, (rows, columns) in enumerate(grids[1]):
        cells = []
        for table, grid in zip(tables, grids, strict=True):
            start = sum(r * c for r, c in grid[:level])
            r, c = grid[level]
            cells.append(table[start : start + r * c].reshape(r, c, -1)[:rows, :columns])
        levels.append((cells[0], cells[1]))
    return levels


def _in_order(a: Floats, b: Floats) -> bool:
    """Whether the cells of two canvases with the same picture are listed in the same order.

    They won't be equal, because what a network sees around them differs; but a cell must be more like itself than like
    its neighbours.
    """
    shifted = [np.roll(b, 1, 0), np.roll(b, -1, 0), np.roll(b, 1, 1), np.roll(b, -1, 1), b[::-1], b[:, ::-1]]
    return _likeness(a, b) > max(_likeness(a, other) for other in shifted)


def _likeness(a: Floats, b: Floats) -> float:
    """Median over the channels of the correlation over the cells; a and b: (height, width, channels)."""
    p, q = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (a, b))
    p, q = p - p.mean(0), q - q.mean(0)
    norm = np.sqrt((p * p).sum(0) * (q * q).sum(0))
    used = norm > 1e-12
    return float(np.median((p * q).sum(0)[used] / norm[used])) if used.any() else -1.0
