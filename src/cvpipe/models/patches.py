"""From patches on a network's canvas to masks of the displayed source frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvpipe.frames import View
from cvpipe.models import Patch
from cvpipe.rle import Mask

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def mask_on_source(patch: Patch, view: View, box: npt.NDArray[np.floating]) -> Mask:
    """Which pixels of the displayed source frame are inside, of those that an object's box touches.

    patch: on the canvas of `view`. box: (4,) x1, y1, x2, y2 in pixels of the frame. A pixel is inside where the value
    at its middle, bilinear between the middles of the patch's cells, is above the patch's level.
    """
    width, height = view.source
    first = np.clip(np.floor(box[:2]), 0, view.source).astype(int).tolist()
    last = np.clip(np.ceil(box[2:]), first, view.source).astype(int).tolist()
    across, down = (np.arange(first[axis], last[axis]) + 0.5 for axis in (0, 1))
    cells = patch.value.T  # columns first, as run lengths go down columns
    if view.lens is None:
        x, y = _on_patch(patch, view, across, 0), _on_patch(patch, view, down, 1)
        left, right, near = _between(x, cells.shape[0])
        lines = cells[left] + (cells[right] - cells[left]) * near[:, None]
        lines[~_within(x, cells.shape[0])] = patch.level
        column, row = _changes(lines, y, patch.level)
        return Mask.of_changes(height, width, (column + first[0]) * height + row + first[1])
    straight = view.lens.straighten(np.stack(np.meshgrid(across, down, indexing="ij"), axis=-1))
    x, y = _on_patch(patch, view, straight[..., 0], 0), _on_patch(patch, view, straight[..., 1], 1)
    left, right, near = _between(x, cells.shape[0])
    top, bottom, low = _between(y, cells.shape[1])
    upper = cells[left, top] + (cells[right, top] - cells[left, top]) * near
    lower = cells[left, bottom] + (cells[right, bottom] - cells[left, bottom]) * near
    inside = (upper + (lower - upper) * low > patch.level) & _within(x, cells.shape[0]) & _within(y, cells.shape[1])
    return Mask.placed(inside.T, (first[0], first[1]), (width, height))


def _changes(lines: Floats, y: Doubles, level: float) -> tuple[Ints, Ints]:
    """Where columns of pixels go in and out, without looking at each pixel: column and row of each change, in order.

    lines: (columns, cells) values at the middles of cells, straight in between. y: (rows,) where the middles of pixels
    lie, in cells, rising. There may be several changes at one place.
    """
    begin, end = np.searchsorted(y, (0, lines.shape[1])).tolist()
    above = lines > level
    column, cell = np.nonzero(above[:, 1:] != above[:, :-1])
    here, there = lines[column, cell].astype(np.float64), lines[column, cell + 1].astype(np.float64)
    crossing = cell + 0.5 + (level - here) / (there - here)
    # At the level itself a pixel is not inside.
    goes_in = there > here
    row = np.where(goes_in, np.searchsorted(y, crossing, "right"), np.searchsorted(y, crossing, "left"))
    starts, stops = np.flatnonzero(above[:, 0]), np.flatnonzero(above[:, -1])
    columns = np.concatenate((starts, column, stops))
    rows = np.concatenate((np.full(len(starts), begin), np.clip(row, begin, end), np.full(len(stops), end)))
    return columns, rows


def _on_patch(patch: Patch, view: View, places: npt.NDArray[np.floating], axis: int) -> Doubles:
    """Places on one axis of the (straight) frame in cells of the patch."""
    start, length = view.region[axis], view.region[axis + 2]
    canvas = (places - start) * (view.content[axis + 2] / length) + view.content[axis]
    first, last = patch.box[axis], patch.box[axis + 2]
    cells = patch.value.shape[1 - axis]
    return np.nan_to_num((canvas - float(first)) * (cells / max(float(last) - float(first), 1e-6)), nan=-1.0)


def _within(places: Doubles, count: int) -> npt.NDArray[np.bool_]:
    return (places >= 0) & (places < count)


def _between(places: Doubles, count: int) -> tuple[Ints, Ints, Floats]:
    """The two cells whose middles a place lies between, and how far it is from the first to the second."""
    middle = np.clip(places - 0.5, 0, count - 1)
    first = np.minimum(middle.astype(np.int64), max(0, count - 2))
    return first, np.minimum(first + 1, count - 1), (middle - first).astype(np.float32)
