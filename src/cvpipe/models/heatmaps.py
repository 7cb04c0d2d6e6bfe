"""`heatmaps`: top-down keypoints as one heatmap each (HRNet, SimpleBaseline, ViTPose; MMPose's and others' exports)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import FamilyOptions, Floats, Outputs, PoseFamily, options_of, stacked

Doubles = npt.NDArray[np.float64]

_REACH = 2  # cells on each side that DARK's second differences look at
_HALF_PIXEL = np.float32(0.5)


class HeatmapOptions(FamilyOptions):
    """What the card's `options` may say."""

    refine: Literal["quarter", "dark", "none"] = Field(
        default="quarter",
        description="How a place finer than a cell is found: a quarter of a cell towards the higher neighbour; by "
        "DARK, from the curvature at the peak, with `corners` as UDP measures it; or not at all.",
    )
    corners: bool = Field(
        default=False,
        description="The first and the last cell are the first and the last pixel of the canvas (networks trained with "
        "UDP); otherwise cell i is pixel i strides.",
    )


class Heatmaps(PoseFamily):
    """One output (k, h, w): how likely each of k keypoints is at each cell.

    A keypoint is where its map is highest; that is its score. Cells stand for pixels of the canvas, whose middles are
    half a pixel from where they begin. Sources: HRNet (arXiv:1902.09212) for the quarter offset, DARK
    (arXiv:1910.06278), UDP (arXiv:1911.07524), the last two as MMPose has them.
    """

    kind = "heatmaps"
    tasks = ("pose",)
    Options = HeatmapOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless there is one output (keypoints, h, w)."""
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != len(card.keypoints):
            raise InvalidModel(
                f"model {card.ref}: heatmaps with {len(card.keypoints)} keypoints has one output of shape "
                f"({len(card.keypoints)}, h, w), this network has {list(shapes)}",
                field="keypoints",
            )

    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> Floats:
        """(n, k, 3): x and y in pixels of the canvas, and score."""
        options: HeatmapOptions = options_of(self, card)
        maps = stacked(outputs, 0)
        n, k, height, width = maps.shape
        flat = maps.reshape(n, k, -1)
        peak = flat.argmax(axis=2)
        place = np.stack((peak % width, peak // width), axis=-1).astype(np.float32)
        if options.refine == "quarter":
            place += _quarters(maps, peak)
        elif options.refine == "dark":
            place += _dark_udp(maps, peak) if options.corners else _dark(maps, peak)
        cells = np.array((width, height), np.float32)
        scale = (np.array(size, np.float32) - 1) / (cells - 1) if options.corners else np.array(size) / cells
        score = np.take_along_axis(flat, peak[..., None], axis=2).clip(0, 1)
        return np.concatenate((place * scale + _HALF_PIXEL, score), axis=2, dtype=np.float32)


def _quarters(maps: Floats, peak: npt.NDArray[np.int64]) -> Floats:
    """A quarter of a cell towards the higher neighbour, (n, k, 2); none at an edge, nor in the second row or column."""
    _, _, height, width = maps.shape
    x, y = peak % width, peak // width
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    x, y = x.clip(1, max(1, width - 2)), y.clip(1, max(1, height - 2))
    if width < 3 or height < 3:
        return np.zeros((*peak.shape, 2), np.float32)
    side = np.sign(_at(maps, x + 1, y) - _at(maps, x - 1, y)), np.sign(_at(maps, x, y + 1) - _at(maps, x, y - 1))
    quarters: Floats = np.stack(side, axis=-1) * np.float32(0.25) * inside[..., None]
    return quarters


def _dark(maps: Floats, peak: npt.NDArray[np.int64]) -> Floats:
    """From the peak to where a parabola through the logarithm of the smoothed map is highest, (n, k, 2)."""
    _, _, height, width = maps.shape
    if min(width, height) <= 2 * _REACH:
        return np.zeros((*peak.shape, 2), np.float32)
    x, y = peak % width, peak // width
    inside = (x >= _REACH) & (x < width - _REACH) & (y >= _REACH) & (y < height - _REACH)
    x, y = x.clip(_REACH, width - _REACH - 1), y.clip(_REACH, height - _REACH - 1)
    logs = np.log(_as_high_as_before(maps).clip(1e-10))

    def at(dx: int, dy: int) -> Doubles:
        return _at(logs, x + dx, y + dy).astype(np.float64)

    gradient = np.stack((at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)), axis=-1) / 2
    xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    return _step(gradient, xx, yy, xy, inside)


def _dark_udp(maps: Floats, peak: npt.NDArray[np.int64]) -> Floats:
    """The same with differences to the next cells, also at an edge, which goes on beyond itself, (n, k, 2)."""
    width = maps.shape[3]
    x, y = peak % width + 1, peak // width + 1
    logs = np.log(_as_high_as_before(maps).clip(1e-3, 50))
    logs = np.pad(logs, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")

    def at(dx: int, dy: int) -> Doubles:
        return _at(logs, x + dx, y + dy).astype(np.float64)

    gradient = np.stack((at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)), axis=-1) / 2
    xx = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    yy = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    xy = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    return _step(gradient, xx, yy, xy, np.ones(peak.shape, bool))


def _step(gradient: Doubles, xx: Doubles, yy: Doubles, xy: Doubles, inside: npt.NDArray[np.bool_]) -> Floats:
    """Where the parabola with these derivatives is highest (or lowest), from here; nowhere else where it is flat."""
    determinant = xx * yy - xy * xy
    solid = inside & (np.abs(determinant) > 1e-12)
    determinant = np.where(solid, determinant, 1)
    step = np.stack(
        (
            -(yy * gradient[..., 0] - xy * gradient[..., 1]) / determinant,
            -(xx * gradient[..., 1] - xy * gradient[..., 0]) / determinant,
        ),
        axis=-1,
    )
    return (step * solid[..., None]).astype(np.float32)


def _as_high_as_before(maps: Floats) -> Floats:
    """Maps smoothed as wide as those were drawn that such networks are trained with, and as high as they were."""
    smooth = _smoothed(maps, 11 if max(maps.shape[2:]) <= 64 else 17)
    top = smooth.max(axis=(2, 3), keepdims=True)
    smooth *= maps.max(axis=(2, 3), keepdims=True) / np.where(top > 0, top, 1)
    return smooth


def _smoothed(maps: Floats, taps: int) -> Floats:
    """Blurred by a Gaussian of so many taps, beyond the edges zero; its width is OpenCV's for that many."""
    sigma = 0.3 * ((taps - 1) * 0.5 - 1) + 0.8
    reach = taps // 2
    weights = np.exp(-((np.arange(taps) - reach) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (reach, reach)
        padded, length = np.pad(maps, pad), maps.shape[axis]
        maps = np.zeros_like(maps)
        for tap, weight in enumerate(weights):
            part = (slice(None), slice(None), slice(tap, tap + length))
            maps += padded[part if axis == 2 else (*part[:2], slice(None), part[2])] * weight
    return maps


def _at(maps: Floats, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> Floats:
    """The value of each map at its own cell, (n, k)."""
    n, k = x.shape
    found: Floats = maps[np.arange(n)[:, None], np.arange(k), y, x]
    return found
