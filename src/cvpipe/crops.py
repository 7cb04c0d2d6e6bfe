"""Crops: a part of a frame on a network's canvas, and the way back from the canvas to the displayed source frame.

A crop is made by one resize from the frame's pixels: by averaging areas (`INTER_AREA`) where it shrinks in both
directions, bilinear else. What lies beyond the frame is padding. Points count from the corner of the first pixel, as
everywhere; a crop's edges lie on whole pixels of the frame, so that the way back is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image, View
from cvpipe.rle import Mask

Fit = Literal["stretch", "letterbox", "top-down"]
Corners = tuple[int, int, int, int]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_MAX_GROWTH = 8192
"""Longest side of a crop in pixels of the frame: a box is never much larger than the frame."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a frame on a canvas.

    view: of the frame that it is cut from. width, height: of the canvas, in pixels.
    region: (x, y, width, height) of what is cut, in pixels of the frame's image; it may reach beyond it.
    content: (x, y, width, height) of where that lies on the canvas; the rest is padding.
    """

    view: View
    width: int
    height: int
    region: Corners
    content: Corners

    @classmethod
    def whole(cls, view: View) -> Crop:
        """All of a frame, its image being the canvas."""
        return cls(view, view.width, view.height, view.content, view.content)

    @classmethod
    def of(
        cls, view: View, box: npt.ArrayLike, size: tuple[int, int], *, fit: Fit, grow: float = 1.0,
        anchor: Literal["centre", "top-left"] = "centre",
    ) -> Crop | None:  # fmt: skip
        """A box's crop on a canvas of `size` (width, height); None where nothing of the box is on the frame.

        box: (4,) x1, y1, x2, y2 in pixels of the displayed source frame. grow: how much larger than the box, about its
        middle, what is cut is. fit: `stretch` fills the canvas with it; `letterbox` keeps its aspect ratio and pads,
        the crop lying at `anchor`; `top-down` cuts more of the frame instead, as much as the canvas's shape wants.
        """
        x1, y1, x2, y2 = view.from_source(np.asarray(box, np.float64)).astype(np.float64).tolist()
        if x2 <= x1 or y2 <= y1:
            return None
        wide, high = (x2 - x1) * grow, (y2 - y1) * grow
        if fit == "top-down":
            wide, high = max(wide, high * size[0] / size[1]), max(high, wide * size[1] / size[0])
        wide, high = min(wide, _MAX_GROWTH), min(high, _MAX_GROWTH)
        left, width = _on_pixels((x1 + x2 - wide) / 2, wide)
        top, height = _on_pixels((y1 + y2 - high) / 2, high)
        content = (0, 0, *size)
        if fit == "letterbox":
            scale = min(size[0] / width, size[1] / height)
            inner = max(1, min(size[0], round(width * scale))), max(1, min(size[1], round(height * scale)))
            off = (0, 0) if anchor == "top-left" else ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
            content = (*off, *inner)
        return cls(view, *size, (left, top, width, height), content)

    def pixels(self, image: Image, cv2: Any, *, pad: int) -> Image:
        """The crop's picture, uint8 (height, width, 3).

        image: the frame's, of `view.shape` with three channels. pad: grey level of what is not on the frame.
        """
        if self.region == self.content == self.view.content and image.shape[:2] == (self.height, self.width):
            return image
        x, y, width, height = self.content
        part = _cut(image, self.region, self.view.content, pad)
        shrinks = part.shape[1] >= width and part.shape[0] >= height
        if part.shape[:2] != (height, width):
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            part = cv2.resize(part, (width, height), interpolation=how)
        if (width, height) == (self.width, self.height):
            return np.ascontiguousarray(part)
        canvas = np.full((self.height, self.width, 3), pad, np.uint8)
        canvas[y : y + height, x : x + width] = part
        return canvas

    def to_source(self, points: npt.NDArray[np.floating]) -> Floats:
        """Map canvas coordinates to the displayed source frame.

        points: (..., 2) x, y or (..., 4) x1, y1, x2, y2. Returns float32 of the same shape, clipped to the frame.
        """
        return self.view.to_source(_moved(points, self.content, self.region))

    def from_source(self, points: npt.NDArray[np.floating]) -> Floats:
        """Map points of the displayed source frame to the canvas; what is not on the crop lies beyond its edges."""
        return _moved(self.view.from_source(points), self.region, self.content).astype(np.float32)

    def on_source(self, grid: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], Corners]:
        """What a grid over the canvas says of the pixels of the displayed source frame.

        grid: (h, w) over all of the canvas. Integers: each pixel gets the value of the cell that its middle lies in;
        floats: bilinear between the middles of cells. Returns the values, (rows, columns); which of these pixels the
        crop shows, of the same shape; and x1, y1, x2, y2 of the part of the source frame that they are.
        """
        across, down, shown, part = _places(self, grid.shape[1], grid.shape[0])
        if not np.issubdtype(grid.dtype, np.floating):
            row, column = down.astype(np.int64), across.astype(np.int64)
            # Column by column, as masks are written.
            return (grid.T[column][:, row].T if row.ndim == 1 else grid[row, column]), shown, part
        (top, bottom, low), (left, right, near) = _between(down, grid.shape[0]), _between(across, grid.shape[1])
        grid = grid.astype(np.float32, copy=False)
        if down.ndim == 1:
            sides = grid.T
            columns = sides[left] + (sides[right] - sides[left]) * near[:, None]
            return (columns[:, top] + (columns[:, bottom] - columns[:, top]) * low).T, shown, part
        upper = grid[top, left] + (grid[top, right] - grid[top, left]) * near
        lower = grid[bottom, left] + (grid[bottom, right] - grid[bottom, left]) * near
        return upper + (lower - upper) * low, shown, part

    def mask(self, inside: npt.NDArray[np.bool_], part: Corners) -> Mask:
        """The mask of the displayed source frame that is `inside`, (rows, columns), on a part of it."""
        return Mask.placed(inside, part[:2], self.view.source)


def label_rows(
    crop: Crop, grid: npt.NDArray[Any], labels: Sequence[str], wanted: Iterable[int], *, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Each label that is there with its share of the frame and its mask, as JSON values, the largest first.

    grid: (h, w) labels over the crop's canvas, or (labels, h, w) chances, of which those above the threshold count.
    wanted: places in `labels`.
    """
    width, height = crop.view.source
    rows = [
        {"label": labels[label], "area": round(pixels / (width * height), 6), "mask": mask.to_dict()}
        for label, pixels, mask in _masks(crop, grid, wanted, threshold)
    ]
    return sorted(rows, key=lambda row: -row["area"])


def _masks(
    crop: Crop, grid: npt.NDArray[Any], wanted: Iterable[int], threshold: float
) -> Iterator[tuple[int, int, Mask]]:
    """Each label that has any pixels: the label, how many, and their mask."""
    if grid.ndim == 2 and grid.size and grid.min() >= 0 and grid.max() < 2**15:
        grid = grid.astype(np.int16)  # quicker to compare, once for each label
    if grid.ndim == 2 and crop.view.lens is None:
        columns, rows, at = _cells(crop, grid.shape[1], grid.shape[0])
        wide, high = (
            np.bincount(cells, minlength=n) for cells, n in zip((columns, rows), grid.shape[::-1], strict=True)
        )
        for label in wanted:
            cells = grid == label
            if cells.any() and (pixels := int(high @ cells @ wide)):
                yield label, pixels, Mask.spread(cells, columns, rows, at, crop.view.source)
        return
    for label, inside, part in _insides(crop, grid, wanted, threshold):
        yield label, int(np.count_nonzero(inside)), crop.mask(inside, part)


def _insides(
    crop: Crop, grid: npt.NDArray[Any], wanted: Iterable[int], threshold: float
) -> Iterator[tuple[int, npt.NDArray[np.bool_], Corners]]:
    """The pixels of each label that has any: the label, (rows, columns), and the part of the frame they are."""
    if grid.ndim == 2:
        found, shown, part = crop.on_source(grid)
        for label in wanted:
            if (inside := (found == label) & shown).any():
                yield label, inside, part
        return
    for label in wanted:
        if grid[label].max(initial=0) > threshold:
            found, shown, part = crop.on_source(grid[label])
            if (inside := (found > threshold) & shown).any():
                yield label, inside, part


def _on_pixels(start: float, length: float) -> tuple[int, int]:
    """The nearest whole pixels, one at least: start and length."""
    first, last = round(start), round(start + length)
    return first, max(1, last - first)


def _cut(image: Image, region: Corners, content: Corners, pad: int) -> Image:
    """A part of the picture, filled up with padding where it reaches beyond what is shown of the frame."""
    x, y, width, height = region
    left, top = max(x, content[0]), max(y, content[1])
    right, bottom = min(x + width, content[0] + content[2]), min(y + height, content[1] + content[3])
    if (left, top, right, bottom) == (x, y, x + width, y + height):
        return image[y:bottom, x:right]
    part = np.full((height, width, 3), pad, np.uint8)
    if right > left and bottom > top:
        part[top - y : bottom - y, left - x : right - x] = image[top:bottom, left:right]
    return part


def _moved(points: npt.NDArray[np.floating], src: Corners, dst: Corners) -> npt.NDArray[np.float64]:
    """Points (..., 2k) of one rectangle in another."""
    shape = np.shape(points)
    pairs = np.asarray(points, np.float64).reshape(*shape[:-1], shape[-1] // 2, 2)
    moved: npt.NDArray[np.float64] = (pairs - src[:2]) * (dst[2] / src[2], dst[3] / src[3]) + dst[:2]
    return moved.reshape(shape)


def _between(places: Floats, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """The two cells whose middles a place lies between, and how far it is from the first to the second."""
    middle = np.clip(places - np.float32(0.5), 0, count - 1)
    first = np.minimum(middle.astype(np.int64), max(0, count - 2))
    return first, np.minimum(first + 1, count - 1), middle - first.astype(np.float32)


@lru_cache(maxsize=4)
def _places(crop: Crop, columns: int, rows: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_], Corners]:
    """For the pixels of the source that a crop shows: where on a grid over its canvas their middles lie.

    Returns x and y in cells (below `columns`, `rows`), which pixels are shown, and the part of the source that they
    are. x is (columns,) and y (rows,), or both (rows, columns) under a lens.
    Memory: a byte for each of these pixels, nine under a lens, of four crops.
    """
    view = crop.view
    x, y, width, height = crop.content
    edges = crop.to_source(np.array([x, y, x + width, y + height], np.float64)).astype(np.float64)
    first, last = np.floor(edges[:2]).astype(int).tolist(), np.ceil(edges[2:]).astype(int).tolist()
    part: Corners = (*first, min(view.source[0], last[0]), min(view.source[1], last[1]))
    across, down = (np.arange(part[axis], part[axis + 2]) + 0.5 for axis in (0, 1))
    if view.lens is not None:
        straight = view.lens.straighten(np.stack(np.meshgrid(across, down), axis=-1))
        across, down = straight[..., 0], straight[..., 1]
    sides = []
    for axis, (places, cells) in enumerate(((across, columns), (down, rows))):
        moved, is_shown = _on_axis(crop, places, axis)
        moved = np.nan_to_num(moved) * (cells / (crop.width, crop.height)[axis])
        placed = np.clip(moved, 0, np.nextafter(np.float32(cells), np.float32(0))).astype(np.float32)
        sides.append((placed, is_shown))
    (columns_at, in_columns), (rows_at, in_rows) = sides
    shown = (in_columns[:, None] & in_rows).T if view.lens is None else in_rows & in_columns
    for array in (columns_at, rows_at, shown):
        array.setflags(write=False)
    return columns_at, rows_at, shown, part


@lru_cache(maxsize=4)
def _cells(crop: Crop, columns: int, rows: int) -> tuple[Ints, Ints, tuple[int, int]]:
    """For the columns and rows of the source that a crop shows, without a lens: the cells of a grid they lie in.

    Returns them, and x and y of the first pixel. Memory: of four crops.
    """
    across, down, shown, part = _places(crop, columns, rows)
    in_columns, in_rows = np.flatnonzero(shown.any(axis=0)), np.flatnonzero(shown.any(axis=1))
    at = (part[0] + int(in_columns[0]), part[1] + int(in_rows[0])) if len(in_columns) else (0, 0)
    found = across[in_columns].astype(np.int64), down[in_rows].astype(np.int64)
    for array in found:
        array.setflags(write=False)
    return *found, at


def _on_axis(
    crop: Crop, places: npt.NDArray[np.floating], axis: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Places on one axis of the (straight) frame on that of the canvas, and which of them are shown."""
    rectangles = (crop.view.region, crop.view.content, crop.region, crop.content)
    (left, wide), (near, width), (cut, cut_width), (start, length) = ((r[axis], r[axis + 2]) for r in rectangles)
    on_view = (places.astype(np.float64) - left) * (width / wide) + near
    canvas = (on_view - cut) * (length / cut_width) + start
    with np.errstate(invalid="ignore"):
        shown = (places >= left) & (places < left + wide) & (canvas >= start) & (canvas < start + length)
    return canvas, shown
