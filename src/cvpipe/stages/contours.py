"""`contours`: connected regions of a black and white picture, and their outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame
from cvpipe.results import Found, Objects
from cvpipe.rle import Mask
from cvpipe.stages import PictureStage
from cvpipe.stages.threshold import LevelOptions, binarised

_CORNERS = 64
Bits = npt.NDArray[np.bool_]


class ContoursOptions(LevelOptions):
    """Options of `contours`."""

    type: Literal["contours"] = "contours"
    open: int = Field(
        default=0, ge=0, le=199, description="Take out what is thinner than so many pixels (morphological opening)."
    )
    close: int = Field(
        default=0, ge=0, le=199, description="Then fill gaps narrower than so many pixels (morphological closing)."
    )
    fill: bool = Field(default=False, description="Fill holes.")
    min_area: float = Field(default=50, ge=0, description="Smallest region, in pixels of the displayed source frame.")
    max_area: float | None = Field(default=None, gt=0, description="Largest region, likewise. Default: no limit.")
    label: str = Field(default="region", min_length=1, max_length=64, description="What the regions are called.")
    max_objects: int = Field(default=100, ge=1, le=2000, description="At most so many, the largest first.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_area is not None and self.max_area < self.min_area:
            raise ValueError("`max_area` must not be less than `min_area`")
        return self


class Contours(PictureStage[ContoursOptions]):
    """Find connected bright (or dark) regions: a box, a mask, an outline and measures of form for each.

    Pixels that touch at a corner are connected. Values of each, under the stage's name, in pixels of the displayed
    source frame: `area`; `perimeter` of the outline; `solidity`, its area as a share of its convex hull's;
    `circularity`, 4 pi area / perimeter², 1 for a disc; `polygon`, the outline's corners, at most 64. `score` is 1.
    Maps: white what regions are looked for in.
    """

    Options = ContoursOptions
    example = """
    - {type: denoise, method: median, size: 5}
    - {type: contours, invert: true, open: 3, fill: true, min_area: 200, label: blob}
    """

    @property
    def finds_objects(self) -> bool:
        """Regions."""
        return True

    def look(self, frame: Frame) -> Found:
        """The regions of a frame."""
        _, taken = binarised(self._cv2, frame.shown, self.options)
        cleaned = self._cleaned(taken)
        regions = regions_of(self._cv2, frame, cleaned, min_area=self.options.min_area, max_area=self.options.max_area)
        return Found(
            added=region_objects(self.name, self.options.label, list(regions)[: self.options.max_objects]),
            map=cleaned.astype(np.uint8) * 255 if frame.wants_map else None,
        )

    def _cleaned(self, taken: Bits) -> Bits:
        cv2, options = self._cv2, self.options
        bits = taken.astype(np.uint8)
        for operation, size in ((cv2.MORPH_OPEN, options.open), (cv2.MORPH_CLOSE, options.close)):
            if size > 1:
                disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
                bits = cv2.morphologyEx(bits, operation, disc)
        if options.fill:
            outlines, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            bits = cv2.drawContours(np.zeros_like(bits), outlines, -1, 1, cv2.FILLED)
        filled: Bits = bits > 0
        return filled


def regions_of(
    cv2: Any, frame: Frame, bits: Bits, *, min_area: float, max_area: float | None = None
) -> Iterator[tuple[npt.NDArray[np.float64], Mask, dict[str, Any]]]:
    """Connected regions of a frame's `shown` picture, the largest first: box, mask and measures (see `Contours`).

    bits: (height, width) bool. min_area, max_area: in pixels of the displayed source frame.
    """
    _, _, source_width, source_height = frame.view.region
    scale = source_width * source_height / bits.size
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bits.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    areas = stats[:, cv2.CC_STAT_AREA] * scale
    for number in sorted(range(1, count), key=lambda n: (-areas[n], n)):
        if areas[number] < min_area or (max_area is not None and areas[number] > max_area):
            continue
        left, top, width, height = stats[number, :4].tolist()
        box = frame.to_source(np.array([left, top, left + width, top + height], np.float64)).astype(np.float64)
        own = labels[top : top + height, left : left + width] == number
        outlines, _ = cv2.findContours(
            own.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top)
        )
        outline = frame.to_source(max(outlines, key=len).reshape(-1, 2) + 0.5)
        yield box, _mask(frame, own, (left, top), box), {"area": round(float(areas[number]), 2), **_form(cv2, outline)}


def region_objects(
    stage: str, label: str, regions: list[tuple[npt.NDArray[np.float64], Mask, dict[str, Any]]]
) -> Objects:
    """Regions as objects of a stage, all with one label and the score 1."""
    return Objects.make(
        stage=stage,
        box=[box for box, _, _ in regions],
        score=[1.0] * len(regions),
        label=[label] * len(regions),
        mask=[mask for _, mask, _ in regions],
        values=[{stage: measures} for _, _, measures in regions],
    )


def _form(cv2: Any, outline: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Measures of an outline through the middles of its pixels."""
    area, length = float(cv2.contourArea(outline)), float(cv2.arcLength(outline, True))
    hull = float(cv2.contourArea(cv2.convexHull(outline)))
    tolerance = 0.01 * length
    polygon = cv2.approxPolyDP(outline, tolerance, True)
    while len(polygon) > _CORNERS:
        tolerance *= 1.5
        polygon = cv2.approxPolyDP(outline, tolerance, True)
    return {
        "perimeter": round(length, 2),
        "solidity": round(area / hull, 4) if hull else 1.0,
        "circularity": round(min(1.0, 4 * np.pi * area / length**2), 4) if length else 1.0,
        "polygon": [[round(value, 2) for value in point] for point in polygon.reshape(-1, 2).tolist()],
    }


def _mask(frame: Frame, own: Bits, at: tuple[int, int], box: npt.NDArray[np.float64]) -> Mask:
    """A region's pixels in the displayed source frame: each takes the nearest of the picture seen."""
    x1, y1 = np.floor(box[:2]).astype(int).tolist()
    x2, y2 = np.ceil(box[2:]).astype(int).tolist()
    columns, rows = np.meshgrid(np.arange(x1, x2) + 0.5, np.arange(y1, y2) + 0.5)
    canvas = frame.view.from_source(np.stack([columns, rows], axis=-1))
    x, y = (np.floor(canvas[..., axis] - frame.view.content[axis]).astype(np.int64) - at[axis] for axis in (0, 1))
    inside = (x >= 0) & (x < own.shape[1]) & (y >= 0) & (y < own.shape[0])
    pixels = np.zeros(x.shape, bool)
    pixels[inside] = own[y[inside], x[inside]]
    return Mask.placed(pixels, (x1, y1), frame.view.source)
