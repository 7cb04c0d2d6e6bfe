"""Masks as run lengths, in the compressed form of COCO (what `pycocotools` and `faster-coco-eval` read).

The pixels are taken column by column; runs of zeros and ones take turns, zeros first. From the third on, each run is
kept as the difference to the one before the last, in groups of five bits, the lowest first, as characters from `0`.
Source: maskApi.c of https://github.com/cocodataset/cocoapi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_MAX_PIXELS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Mask:
    """Which pixels of a picture belong to something.

    height, width: of the picture, in pixels. counts: COCO's compressed run lengths.
    """

    height: int
    width: int
    counts: str

    @classmethod
    def of(cls, pixels: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> Self:
        """From (height, width), true or above zero inside."""
        flat = np.asarray(pixels, bool).ravel(order="F")
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        runs = np.diff(np.concatenate(([0], changes, [len(flat)])))
        if len(flat) and flat[0]:
            runs = np.concatenate(([0], runs))
        return cls.of_runs(pixels.shape[0], pixels.shape[1], runs)

    @classmethod
    def of_runs(cls, height: int, width: int, runs: npt.ArrayLike) -> Self:
        """From uncompressed run lengths, (n,) ints."""
        return cls(height, width, _written(np.asarray(runs, np.int64)))

    @classmethod
    def of_changes(cls, height: int, width: int, changes: Ints) -> Self:
        """From the places where outside becomes inside or the other way round: (n,) ints, rising.

        A place is column * height + row, up to width * height; an even number of changes at one place is none.
        """
        places, counts = np.unique(changes, return_counts=True)
        places = places[counts % 2 == 1]
        runs = np.diff(np.concatenate(([0], places, [width * height])))
        return cls.of_runs(height, width, runs[:-1] if len(places) and runs[-1] == 0 else runs)

    @classmethod
    def placed(cls, pixels: npt.NDArray[np.bool_], at: tuple[int, int], size: tuple[int, int]) -> Self:
        """From a part of a picture, (h, w) bool, outside of which all is false; costs nothing for the rest.

        at: (x, y) of the part's first pixel. size: (width, height) of the whole picture.
        """
        rows, columns = pixels.shape
        return cls.spread(pixels, np.arange(columns), np.arange(rows), at, size)

    @classmethod
    def spread(
        cls, cells: npt.NDArray[np.bool_], columns: Ints, rows: Ints, at: tuple[int, int], size: tuple[int, int]
    ) -> Self:
        """From a coarse grid over a part of a picture, (h, w) bool; costs as much as there is outline, not pixels.

        columns, rows: for each of the part's columns and rows the cell that it lies in, rising. at: (x, y) of the
        part's first pixel. size: (width, height) of the whole picture.
        """
        x, y = at
        width, height = size
        if min(x, y) < 0 or x + len(columns) > width or y + len(rows) > height:
            raise ValueError(f"{len(columns)}x{len(rows)} pixels at {x}, {y} leave the {width}x{height} picture")
        high, wide = cells.shape
        # A row of zeros above and below keeps runs within their columns.
        padded = np.zeros((wide, high + 2), bool)
        padded[:, 1:-1] = cells.T
        column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), high + 1)
        left, top = np.searchsorted(columns, np.arange(wide + 1)), np.searchsorted(rows, np.arange(high + 1))
        times = np.diff(left)[column]
        each = np.repeat(np.arange(len(column)), times)
        across = left[column][each] + np.arange(len(each)) - (np.cumsum(times) - times)[each]
        return cls.of_changes(height, width, (across + x) * height + top[row][each] + y)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.runs()[1::2].sum())

    def runs(self) -> Ints:
        """Uncompressed run lengths, zeros first: (n,). Raises: ValueError where `counts` is none of them."""
        return _read(self.counts)

    def pixels(self) -> npt.NDArray[np.bool_]:
        """(height, width), true inside. Raises: ValueError where `counts` is not of this size."""
        runs = self.runs()
        if int(runs.sum()) != self.height * self.width or self.height * self.width > _MAX_PIXELS:
            raise ValueError(f"run lengths of {int(runs.sum())} pixels are not of {self.width}x{self.height}")
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape((self.height, self.width), order="F")

    def to_dict(self) -> dict[str, Any]:
        """`{"size": [height, width], "counts": "..."}`, as in COCO's files."""
        return {"size": [self.height, self.width], "counts": self.counts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        height, width = data["size"]
        return cls(int(height), int(width), str(data["counts"]))


def _written(runs: Ints) -> str:
    deltas = runs.copy()
    deltas[3:] -= runs[1:-2]
    out = bytearray()
    for value in deltas.tolist():
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            out.append((group | 32 if more else group) + 48)
    return out.decode("ascii")


def _read(counts: str) -> Ints:
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode("ascii", "replace"):
        group = character - 48
        if not 0 <= group < 64 or shift > 55:
            raise ValueError("these are no compressed run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift or any(run < 0 for run in runs):
        raise ValueError("these are no compressed run lengths")
    return np.array(runs, np.int64)
