"""`tiles`: later stages see the frame in several pictures, so that small things are large enough for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.errors import InvalidRequest
from cvpipe.frames import View
from cvpipe.results import Found, Objects
from cvpipe.rle import Mask
from cvpipe.stages import StageOptions, Tiler

_MAX_TILES = 256
_AT_THE_EDGE = 0.02
"""A box that comes as near to an edge of its tile, as a share of the tile, counts as cut off there."""


class TilesOptions(StageOptions):
    """Options of `tiles`."""

    type: Literal["tiles"] = "tiles"
    width: int | None = Field(default=None, ge=16, le=8192, description="Of a tile, in pixels of the source frame.")
    height: int | None = Field(default=None, ge=16, le=8192, description="Of a tile, in pixels of the source frame.")
    columns: int | None = Field(
        default=None, ge=1, le=64, description="Instead of `width` and `height`: how many tiles side by side."
    )
    rows: int | None = Field(default=None, ge=1, le=64, description="With `columns`: how many tiles one below another.")
    overlap: float = Field(
        default=0.2,
        ge=0,
        le=0.9,
        description="Share of a tile that the next one shows too; make it larger than what is looked for.",
    )
    merge: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Boxes of one label from different tiles are one object where they share more than this part of "
        "the smaller one.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> TilesOptions:
        by_size = self.width is not None and self.height is not None
        by_count = self.columns is not None and self.rows is not None
        if (
            by_size == by_count
            or (self.width is None) != (self.height is None)
            or (self.columns is None) != (self.rows is None)
        ):
            raise ValueError("give `width` and `height`, or `columns` and `rows`")
        return self


class Tiles(Tiler[TilesOptions]):
    """Show later stages the frame in overlapping tiles, and merge what they find on them."""

    Options = TilesOptions
    example = """
    - {type: tiles, columns: 2, rows: 2, overlap: 0.2}
    - {type: detect, model: yolox-nano}
    """

    _rectangles: npt.NDArray[np.float64] = np.zeros((0, 4))

    def tiles(self, view: View) -> tuple[View, ...]:
        """The tiles, row by row, all of one size; the last ones end at the edge of what `view` shows.

        Raises: InvalidRequest where there are too many.
        """
        o = self.options
        left, top, width, height = view.region
        across = _cut(width, o.width, o.columns, o.overlap)
        down = _cut(height, o.height, o.rows, o.overlap)
        count = len(across[0]) * len(down[0])
        if count > _MAX_TILES:
            raise InvalidRequest(
                f"{count} tiles of {across[1]}x{down[1]} for {width}x{height} pixels are more than {_MAX_TILES}; make "
                "them larger, or `overlap` smaller",
                field=self.name,
            )
        tiles = tuple(view.cropped(left + x, top + y, across[1], down[1]) for y in down[0] for x in across[0])
        self._rectangles = np.array([_shown(tile) for tile in tiles])
        return tiles

    def merge(self, found: Sequence[Found]) -> Found:
        """One result: new objects merged, earlier ones as the tile that shows most of them has them, lists of values.

        Two new objects of one label from different tiles are one where they overlap enough: the better one, best score
        first. Where it is cut off at the edge of its tile, its box grows to hold the other one. It takes on the text,
        track and values of the other where it has none, and the keypoints that the other is surer of; its mask is that
        of both.
        """
        added = [part.added for part in found]
        earlier = [part.objects for part in found if part.objects is not None]
        names = dict.fromkeys(name for part in found for name in part.values)
        return Found(
            added=None if all(part is None for part in added) else self._merge_added(added),
            objects=self._merge_earlier(earlier) if earlier else None,
            values={name: [part.values.get(name) for part in found] for name in names},
            skip=bool(found) and all(part.skip for part in found),
        )

    def _merge_added(self, parts: Sequence[Objects | None]) -> Objects:
        everything = Objects.concat(part for part in parts if part is not None)
        tile = np.repeat(np.arange(len(parts)), [0 if part is None else len(part) for part in parts])
        box = everything.box.astype(np.float64)
        text, track = list(everything.text), everything.track.copy()
        points, mask, values = list(everything.keypoints), list(everything.mask), list(everything.values)
        is_cut = self._cut_off(box, tile)
        label = np.array([f"{s}\0{n}" for s, n in zip(everything.stage, everything.label, strict=True)])
        order = np.argsort(-everything.score, kind="stable")
        is_open = np.ones(len(order), bool)
        kept: list[int] = []
        for best in order.tolist():
            if not is_open[best]:
                continue
            is_open[best] = False
            kept.append(best)
            tiles_in = {int(tile[best])}
            for other in order.tolist():
                if not is_open[other] or label[other] != label[best] or int(tile[other]) in tiles_in:
                    continue
                if _shared(box[best], box[other]) <= self.options.merge:
                    continue
                is_open[other] = False
                tiles_in.add(int(tile[other]))
                if is_cut[best]:
                    box[best] = [*np.minimum(box[best][:2], box[other][:2]), *np.maximum(box[best][2:], box[other][2:])]
                text[best] = text[best] if text[best] is not None else text[other]
                track[best] = track[best] if track[best] >= 0 else track[other]
                points[best] = _surer(points[best], points[other])
                mask[best] = _both(mask[best], mask[other])
                values[best] = values[best] if values[other] is None else {**values[other], **(values[best] or {})}
        merged = replace(
            everything, box=box.astype(np.float32), text=tuple(text), track=track,
            keypoints=tuple(points), mask=tuple(mask), values=tuple(values),
        )  # fmt: skip
        return Objects.concat(merged.where(np.arange(len(order)) == index) for index in kept)

    def _cut_off(self, box: npt.NDArray[np.float64], tile: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Which boxes reach to an edge of their tile beyond which the picture goes on."""
        if not len(self._rectangles) or not len(box):
            return np.zeros(len(box), bool)
        mine = self._rectangles[tile]
        near = np.tile((mine[:, 2:] - mine[:, :2]) * _AT_THE_EDGE, 2)
        whole = np.concatenate((self._rectangles[:, :2].min(axis=0), self._rectangles[:, 2:].max(axis=0)))
        return np.asarray(((np.abs(box - mine) < near) & (np.abs(mine - whole) >= near)).any(axis=1))

    def _merge_earlier(self, parts: Sequence[Objects]) -> Objects:
        """Objects of earlier stages, each as the tile has it that shows most of it, and changed something about it."""
        first = parts[0]
        if any(len(part) != len(first) or not np.array_equal(part.box, first.box) for part in parts):
            return self._merge_added(parts)
        area = np.zeros((len(parts), len(first)))
        for number, rectangle in enumerate(self._rectangles[: len(parts)]):
            low = np.maximum(first.box[:, :2], rectangle[:2])
            high = np.minimum(first.box[:, 2:], rectangle[2:])
            area[number] = np.maximum(high - low, 0).prod(axis=1)
        has_text = np.array([[text is not None for text in part.text] for part in parts]).reshape(area.shape)
        best = np.where(has_text.any(axis=0), np.where(has_text, area, -1).argmax(axis=0), area.argmax(axis=0))
        return Objects.concat(
            parts[tile].where(np.arange(len(first)) == index) for index, tile in enumerate(best.tolist())
        )


def _surer(
    one: npt.NDArray[np.float32] | None, other: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float32] | None:
    """Each keypoint as it has the higher score."""
    if one is None or other is None or one.shape != other.shape:
        return other if one is None else one
    return np.where(other[:, 2:] > one[:, 2:], other, one)


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    """The pixels of either mask."""
    if one is None or other is None:
        return other if one is None else one
    return Mask.of(one.pixels() | other.pixels())


def _cut(length: int, size: int | None, count: int | None, overlap: float) -> tuple[list[int], int]:
    """Where the tiles of one direction begin, and how long they are."""
    if count is not None:
        size = min(length, math.ceil(length / (count - (count - 1) * overlap)))
        return sorted({round(n * (length - size) / max(1, count - 1)) for n in range(count)}), size
    assert size is not None
    size = min(size, length)
    step = max(1, round(size * (1 - overlap)))
    return [*range(0, length - size, step), length - size], size


def _shown(tile: View) -> list[float]:
    """x1, y1, x2, y2 of what a tile shows, in pixels of the displayed source frame."""
    x, y, width, height = tile.content
    corners: list[Any] = tile.to_source(np.array([x, y, x + width, y + height], np.float64)).tolist()
    return corners


def _shared(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """The part of the smaller box that lies in both."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    smaller = min(float(np.prod(one[2:] - one[:2])), float(np.prod(other[2:] - other[:2])))
    return float(np.prod(np.maximum(high - low, 0))) / smaller if smaller > 0 else 0.0
