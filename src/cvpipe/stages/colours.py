"""`colours`: the colours of a frame, or of each object on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, Image, View
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions
from cvpipe.subjects import Of

_ROUNDS = 12
_STEP = 8  # colours that differ by less are taken together before they are sorted into groups

Pixels = npt.NDArray[np.uint8]
"""(n, 3) RGB."""


class ColoursOptions(StageOptions):
    """Options of `colours`."""

    type: Literal["colours"] = "colours"
    of: Of = None
    count: int = Field(default=4, ge=0, le=16, description="How many dominant colours to tell at most.")
    bins: int = Field(default=0, ge=0, le=256, description="Bars of the histogram of each channel; 0: none.")
    inner: float = Field(
        default=1,
        gt=0,
        le=1,
        description="With `of`: the middle part of the box that is looked at, as a share of each side.",
    )


class Colours(FrameStage[ColoursOptions]):
    """Tell the dominant colours, the mean colour and histograms of each frame, or of each object of another stage.

    Values, under the stage's name: `dominant`, `[{"hex", "rgb", "share"}]`, groups of like colours (k-means), the
    largest first; `mean`, [r, g, b]; with `bins`, `histogram`: for `red`, `green` and `blue` the share of pixels in
    each bar from 0 to 255. Colours are RGB from 0 to 255. An object with a mask is looked at within it.
    """

    Options = ColoursOptions
    example = """
    - {type: detect, name: cars, model: yolox-nano, classes: [car, truck, bus]}
    - {type: colours, of: cars, count: 2, inner: 0.6}
    """

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are looked at."""
        return () if self.options.of is None else (self.options.of,)

    def view(self, upstream: View) -> View:
        """What the steps before made, as RGB."""
        return upstream.in_colours("rgb24")

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The colours of each frame, or of each object."""
        if self.options.of is None:
            return [Found(values={self.name: self._tell(frame.shown.reshape(-1, 3))}) for frame in frames]
        results = []
        for frame, objects in zip(frames, found, strict=True):
            told = {}
            for place in np.flatnonzero(objects.of_stage(self.options.of)).tolist():
                pixels = self._pixels_of(frame, objects, place)
                if len(pixels):
                    told[place] = self._tell(pixels)
            results.append(Found(objects=objects.with_values(self.name, told)))
        return results

    def _pixels_of(self, frame: Frame, objects: Objects, place: int) -> Pixels:
        box = objects.box[place].astype(np.float64)
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * self.options.inner
        x1, y1, x2, y2 = frame.view.from_source(np.concatenate((middle - half, middle + half))).tolist()
        left, top, right, bottom = int(x1), int(y1), int(np.ceil(x2)), int(np.ceil(y2))
        part: Image = frame.image[top:bottom, left:right]
        mask = objects.mask[place]
        if mask is None:
            return part.reshape(-1, 3)
        columns, rows = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        at = frame.view.to_source(np.stack([columns, rows], axis=-1)).astype(np.int64)
        inside = mask.pixels()[np.minimum(at[..., 1], mask.height - 1), np.minimum(at[..., 0], mask.width - 1)]
        return part[inside]

    def _tell(self, pixels: Pixels) -> dict[str, Any]:
        value: dict[str, Any] = {
            "dominant": dominant(pixels, self.options.count),
            "mean": np.round(pixels.mean(axis=0, dtype=np.float64), 2).tolist(),
        }
        if self.options.bins:
            edges = np.linspace(0, 256, self.options.bins + 1)
            value["histogram"] = {
                name: np.round(np.histogram(pixels[:, channel], edges)[0] / len(pixels), 6).tolist()
                for channel, name in enumerate(("red", "green", "blue"))
            }
        return value


def dominant(pixels: Pixels, count: int) -> list[dict[str, Any]]:
    """At most `count` colours that stand for all pixels, the one of the most pixels first.

    k-means, begun at the commonest colour and then at what is farthest from those chosen, weighted by its pixels: the
    same for the same pixels. pixels: (n, 3) uint8 RGB, one or more.
    """
    if not count:
        return []
    wide = pixels.astype(np.int64)
    keys = ((wide[:, 0] // _STEP) * 256 + wide[:, 1] // _STEP) * 256 + wide[:, 2] // _STEP
    _, groups, weight = np.unique(keys, return_inverse=True, return_counts=True)
    colour = np.stack([np.bincount(groups, wide[:, c]) / weight for c in range(3)], axis=1)
    centres = colour[[int(weight.argmax())]]
    while len(centres) < min(count, len(colour)):
        far = ((colour[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1) * weight
        centres = np.concatenate((centres, colour[[int(far.argmax())]]))
    for _ in range(_ROUNDS):
        nearest = ((colour[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        sizes = np.bincount(nearest, weight, len(centres))
        sums = np.stack([np.bincount(nearest, weight * colour[:, c], len(centres)) for c in range(3)], axis=1)
        moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    told = []
    for n in np.argsort(-sizes, kind="stable").tolist():
        if sizes[n] > 0:
            rgb = np.round(centres[n]).astype(int).tolist()
            share = round(float(sizes[n]) / len(pixels), 4)
            told.append({"hex": "#{:02x}{:02x}{:02x}".format(*rgb), "rgb": rgb, "share": share})
    return told
