"""From patches on a network's canvas to masks of the displayed source frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvpipe.frames import View
from cvpipe.models import Patch
from cvpipe.rle import Mask

Floats = npt.NDArray[np.float32]


def mask_on_source(patch: Patch, view: View, box: npt.NDArray[np.floating]) -> Mask:
    """Which pixels of the displayed source frame are inside, of those that an object's box touches.

    patch: on the canvas of `view`. box: (4,) x1, y1, x2, y2 in pixels of the frame. A pixel is inside where the chance
    at its middle, bilinear between the middles of the patch's cells, is above 0.5.
    """
    width, height = view.source
    first = np.clip(np.floor(box[:2]), 0, view.source).astype(int).tolist()
    last = np.clip(np.ceil(box[2:]), first, view.source).astype(int).tolist()
    across, down = (np.arange(first[axis], last[axis]) + 0.5 for axis in (0, 1))
    rows, columns = patch.chance.shape
    if view.lens is None:
        x, y = _on_patch(patch, view, across, 0), _on_patch(patch, view, down, 1)
        top, bottom, low = _between(y, rows)
        left, right, near = _between(x, columns)
        lines = patch.chance[top] + (patch.chance[bottom] - patch.chance[top]) * low[:, None]
        chance = lines[:, left] + (lines[:, right] - lines[:, left]) * near
        on_patch = _within(y, rows)[:, None] & _within(x, columns)
    else:
        straight = view.lens.straighten(np.stack(np.meshgrid(across, down), axis=-1))
        x, y = _on_patch(patch, view, straight[..., 0], 0), _on_patch(patch, view, straight[..., 1], 1)
        top, bottom, low = _between(y, rows)
        left, right, near = _between(x, columns)
        upper = patch.chance[top, left] + (patch.chance[top, right] - patch.chance[top, left]) * near
        lower = patch.chance[bottom, left] + (patch.chance[bottom, right] - patch.chance[bottom, left]) * near
        chance = upper + (lower - upper) * low
        on_patch = _within(y, rows) & _within(x, columns)
    return Mask.placed((chance > 0.5) & on_patch, (first[0], first[1]), (width, height))


def _on_patch(patch: Patch, view: View, places: npt.NDArray[np.floating], axis: int) -> npt.NDArray[np.float64]:
    """Places on one axis of the (straight) frame in cells of the patch."""
    start, length = view.region[axis], view.region[axis + 2]
    canvas = (places - start) * (view.content[axis + 2] / length) + view.content[axis]
    first, last = patch.box[axis], patch.box[axis + 2]
    cells = patch.chance.shape[1 - axis]
    return np.nan_to_num((canvas - float(first)) * (cells / max(float(last) - float(first), 1e-6)), nan=-1.0)


def _within(places: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.bool_]:
    return (places >= 0) & (places < count)


def _between(
    places: npt.NDArray[np.float64], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """The two cells whose middles a place lies between, and how far it is from the first to the second."""
    middle = np.clip(places - 0.5, 0, count - 1)
    first = np.minimum(middle.astype(np.int64), max(0, count - 2))
    return first, np.minimum(first + 1, count - 1), (middle - first).astype(np.float32)
