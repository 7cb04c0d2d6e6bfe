"""Pictures in memory: which pixels a stage asks for, and the pixels themselves.

A `View` is the order a stage gives to the decoder: which part of the displayed source frame goes where on a canvas of
so many pixels, in which colours, and what is done to it. The decoder makes each distinct view of a frame once, by one
resize from the decoded picture, however many pre-processing steps led to it. `View` also maps coordinates back, so
that everything reported is in pixels of the displayed source frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from cvpipe.lens import Lens

PixelFormat = Literal["rgb24", "bgr24", "gray", "hsv", "lab", "ycrcb"]
ResizeMode = Literal["fit", "fill", "letterbox", "stretch"]
FilterKind = Literal["clahe", "equalise", "gamma", "median", "gaussian", "bilateral", "nlm"]
Polygon = tuple[tuple[float, float], ...]
Image = npt.NDArray[np.uint8]

TIME_STEP: Final = 1e-6
"""Times of frames are rounded to so many seconds."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Something done to the pixels of a view, after the resize.

    kind, values: `clahe` (clip limit, tiles a side), `equalise` (), `gamma` (exponent), `median` (size in pixels),
    `gaussian` (sigma in pixels), `bilateral` (diameter in pixels, sigma of colour, sigma in pixels), `nlm` (strength).
    """

    kind: FilterKind
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """The picture that a stage wants to see of each frame.

    source: (width, height) of the displayed source frame, in pixels.
    width, height: of the canvas, in pixels.
    content: (x, y, width, height) of the shown part of the frame on the canvas, in pixels; the rest is `pad`.
    region: (x, y, width, height) of the part of the displayed source frame that is shown, in pixels. With a `lens`: of
    the straightened picture, which has the source's size. Default: all of it.
    format: the canvas is uint8, (height, width, 3); (height, width) for gray or where one `plane` is chosen.
    plane: index of the only plane of `format` that is shown. colourless: it, or gray, as three equal channels.
    filters: done in order to the colours as recorded (RGB or gray), before they become `format`.
    polygons: in pixels of the displayed source frame; what lies in none of them becomes `pad`. Empty: all is shown.
    lens: the picture is straightened. deinterlace: combed frames are made whole from their neighbours (bwdif).
    """

    source: tuple[int, int]
    width: int
    height: int
    content: tuple[int, int, int, int]
    format: PixelFormat = "bgr24"
    pad: int = 114
    colourless: bool = False
    region: tuple[int, int, int, int] = (0, 0, 0, 0)
    plane: int | None = None
    filters: tuple[Filter, ...] = ()
    polygons: tuple[Polygon, ...] = ()
    lens: Lens | None = None
    deinterlace: bool = False

    def __post_init__(self) -> None:
        if self.region == (0, 0, 0, 0):
            object.__setattr__(self, "region", (0, 0, *self.source))
        x, y, width, height = self.content
        left, top, region_width, region_height = self.region
        if min(self.width, self.height, width, height, *self.source, region_width, region_height) < 1:
            raise ValueError(f"a view needs positive sizes, got {self}")
        if min(x, y, left, top) < 0 or x + width > self.width or y + height > self.height:
            raise ValueError(f"the content {self.content} leaves the {self.width}x{self.height} canvas")
        if left + region_width > self.source[0] or top + region_height > self.source[1]:
            raise ValueError(f"the region {self.region} leaves the {self.source[0]}x{self.source[1]} frame")
        if self.plane is not None and (self.format == "gray" or not 0 <= self.plane < 3):
            raise ValueError(f"{self.format} has no plane {self.plane}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> View:
        """The inverse of `to_dict`, also after a way through JSON."""
        lens = data["lens"]
        return cls(
            **{
                **data,
                "source": tuple(data["source"]),
                "content": tuple(data["content"]),
                "region": tuple(data["region"]),
                "filters": tuple(Filter(f["kind"], tuple(f["values"])) for f in data["filters"]),
                "polygons": tuple(tuple((x, y) for x, y in polygon) for polygon in data["polygons"]),
                "lens": lens and Lens(**{**lens, "coefficients": tuple(lens["coefficients"])}),
            }
        )

    @classmethod
    def of(cls, width: int, height: int, *, format: PixelFormat = "bgr24") -> View:
        """The displayed source frame as it is: `width` x `height` pixels."""
        return cls(source=(width, height), width=width, height=height, content=(0, 0, width, height), format=format)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (height, width) or (height, width, 3)."""
        flat = (self.format == "gray" or self.plane is not None) and not self.colourless
        return (self.height, self.width) if flat else (self.height, self.width, 3)

    @property
    def nbytes(self) -> int:
        """Bytes of one picture."""
        return int(np.prod(self.shape))

    def with_format(self, format: PixelFormat) -> View:
        """The same geometry in another pixel format, as a stage asks for it that takes only that one.

        What has one channel comes as three equal ones where colour is asked for; colours of another space (`hsv`) that
        were chosen on purpose come as they are where three channels are asked for.
        """
        if self.format == "gray" or self.plane is not None:
            if format == "gray":
                return replace(self, colourless=False)
            return replace(self, colourless=True, format=format if self.format == "gray" else self.format)
        if format != "gray" and self.format not in ("rgb24", "bgr24"):
            return self
        if self.colourless:
            return replace(self, format=format, colourless=format != "gray")
        return replace(self, format=format)

    def in_colours(self, format: Literal["rgb24", "bgr24"]) -> View:
        """The same in the colours as recorded, also where those of another space were chosen; one channel thrice."""
        view = self.with_format(format)
        return view if view.colourless else replace(view, format=format)

    def cropped(self, x: int, y: int, width: int, height: int) -> View:
        """The part of this view that shows so much of the displayed source frame (of the straightened one with a lens).

        x, y, width, height: in pixels of it; what reaches beyond the region is cut off. Padding is left out.
        Raises: ValueError where nothing is left.
        """
        left, top, region_width, region_height = self.region
        x1, y1 = max(x, left), max(y, top)
        x2, y2 = min(x + width, left + region_width), min(y + height, top + region_height)
        if x2 <= x1 or y2 <= y1:
            raise ValueError(f"{width}x{height} at {x}, {y} lies outside of the picture {self.region}")
        canvas_w = max(1, round((x2 - x1) * self.content[2] / region_width))
        canvas_h = max(1, round((y2 - y1) * self.content[3] / region_height))
        return replace(
            self,
            width=canvas_w,
            height=canvas_h,
            content=(0, 0, canvas_w, canvas_h),
            region=(x1, y1, x2 - x1, y2 - y1),
        )

    def filtered(self, *filters: Filter) -> View:
        """This view with more done to its pixels."""
        return replace(self, filters=(*self.filters, *filters))

    def resized(
        self,
        width: int,
        height: int,
        *,
        mode: ResizeMode = "fit",
        anchor: Literal["centre", "top-left"] = "centre",
        pad: int | None = None,
        multiple_of: int = 1,
    ) -> View:
        """This view resized to at most (`fit`), inside (`letterbox`) or exactly (`fill`, `stretch`) width x height.

        `fit` keeps the aspect ratio and returns a canvas no larger than asked; `letterbox` keeps it and fills the rest
        of the canvas with `pad`; `fill` keeps it and cuts off what is too long, on both sides alike; `stretch` ignores
        it. `multiple_of` rounds the canvas up with padding. pad: grey level of all padding; default: as it was.
        """
        pad = self.pad if pad is None else pad
        if mode == "fill":
            return self._cut_to(width, height).resized(width, height, mode="stretch", pad=pad, multiple_of=multiple_of)
        if mode == "stretch":
            scale_x, scale_y = width / self.width, height / self.height
        else:
            scale_x = scale_y = min(width / self.width, height / self.height)
        inner_w = max(1, min(width, round(self.width * scale_x)))
        inner_h = max(1, min(height, round(self.height * scale_y)))
        canvas_w, canvas_h = (width, height) if mode == "letterbox" else (inner_w, inner_h)
        canvas_w = -(-canvas_w // multiple_of) * multiple_of
        canvas_h = -(-canvas_h // multiple_of) * multiple_of
        centred = anchor == "centre" and mode == "letterbox"
        off_x = (canvas_w - inner_w) // 2 if centred else 0
        off_y = (canvas_h - inner_h) // 2 if centred else 0
        x, y, content_w, content_h = self.content
        left = off_x + round(x * inner_w / self.width)
        top = off_y + round(y * inner_h / self.height)
        new_w = min(max(1, round(content_w * inner_w / self.width)), canvas_w - left)
        new_h = min(max(1, round(content_h * inner_h / self.height)), canvas_h - top)
        return replace(self, width=canvas_w, height=canvas_h, content=(left, top, new_w, new_h), pad=pad)

    def _cut_to(self, width: int, height: int) -> View:
        """The middle of this view, in the aspect ratio of width x height, without padding."""
        left, top, region_w, region_h = self.region
        scale = max(width / self.content[2], height / self.content[3])
        cut_w = min(region_w, max(1, round(region_w * width / (self.content[2] * scale))))
        cut_h = min(region_h, max(1, round(region_h * height / (self.content[3] * scale))))
        return self.cropped(left + (region_w - cut_w) // 2, top + (region_h - cut_h) // 2, cut_w, cut_h)

    def to_source(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Map canvas coordinates to the displayed source frame.

        points: (..., 2) x, y or (..., 4) x1, y1, x2, y2. Returns float32 of the same shape, clipped to what is shown.
        A box under a lens comes back as the box around its bent outline.
        """
        straight = _affine(points, self.content, self.region)
        if self.lens is None:
            return straight.astype(np.float32).reshape(np.shape(points))
        return _bent(straight, self.lens.distort, self.source).reshape(np.shape(points))

    def from_source(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Map coordinates of the displayed source frame to the canvas; the inverse of `to_source`, for points."""
        pairs = np.asarray(points, dtype=np.float64)
        if self.lens is not None:
            pairs = self.lens.straighten(pairs.reshape(*pairs.shape[:-1], -1, 2)).reshape(pairs.shape)
        moved = _affine(pairs, self.region, self.content)
        return moved.astype(np.float32).reshape(np.shape(points))


def _affine(
    points: npt.NDArray[np.floating], src: tuple[int, int, int, int], dst: tuple[int, int, int, int]
) -> npt.NDArray[np.float64]:
    """Points (..., 2k) of one rectangle in another, clipped to it: (..., k, 2)."""
    shape = np.shape(points)
    pairs = np.asarray(points, dtype=np.float64).reshape(*shape[:-1], shape[-1] // 2, 2)
    moved = (pairs - src[:2]) * (dst[2] / src[2], dst[3] / src[3]) + dst[:2]
    return np.clip(moved, dst[:2], (dst[0] + dst[2], dst[1] + dst[3]))


_OUTLINE = np.stack([np.tile(np.arange(5) / 4, 5), np.repeat(np.arange(5) / 4, 5)], axis=-1)


def _bent(
    pairs: npt.NDArray[np.float64],
    bend: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    size: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Points (..., 1, 2) moved; boxes (..., 2, 2) as what lies around theirs once it is moved. Clipped to the size."""
    if pairs.shape[-2] == 1:
        return np.clip(bend(pairs), 0, size).astype(np.float32)
    first, last = pairs[..., :1, :], pairs[..., 1:, :]
    outline = np.clip(bend(first + (last - first) * _OUTLINE), 0, size)
    return np.stack([outline.min(axis=-2), outline.max(axis=-2)], axis=-2).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Frames of a video in display order, as far as they are known without their pixels; arrays of length n.

    number: int64. time: float64, seconds since the first frame of the video. keyframe: bool, decoding can begin there.
    reference: bool, other frames may be predicted from it. stop: float64, the time at which it gives way to the next
    frame of the video, in seconds; default: the next frame's of these, for the last one its own.
    """

    number: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    keyframe: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    stop: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not len(self.stop):
            object.__setattr__(self, "stop", np.append(self.time[1:], self.time[-1:]))
        for name in ("time", "keyframe", "reference", "stop"):
            if len(getattr(self, name)) != len(self.number):
                raise ValueError(f"{name}: wanted {len(self.number)} entries, got {len(getattr(self, name))}")

    def __len__(self) -> int:
        return len(self.number)

    def where(self, keep: npt.NDArray[np.bool_]) -> Timeline:
        """The frames for which `keep`, (n,) bool, is true."""
        return Timeline(self.number[keep], self.time[keep], self.keyframe[keep], self.reference[keep], self.stop[keep])


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video as a stage sees it.

    number: of the source frame in display order, from 0. pts: in the stream's time base. time: seconds since the
    first frame.
    image: uint8 array of `view.shape`, read-only; valid only during the call it is handed to (shared memory).
    wants_map: whether the stage is to hand out a map of this frame.
    """

    number: int
    pts: int
    time: float
    view: View
    image: Image
    wants_map: bool = False

    def __post_init__(self) -> None:
        if self.image.shape != self.view.shape or self.image.dtype != np.uint8:
            raise ValueError(f"wanted uint8 {self.view.shape}, got {self.image.dtype} {self.image.shape}")

    def __repr__(self) -> str:
        return f"Frame(number={self.number}, time={self.time:.3f}, image=uint8{list(self.image.shape)})"

    @property
    def shown(self) -> Image:
        """What shows something of the source frame: the image without padding, contiguous."""
        x, y, width, height = self.view.content
        return np.ascontiguousarray(self.image[y : y + height, x : x + width])

    def to_source(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Map coordinates in `shown`, (..., 2) or (..., 4), to the displayed source frame; see `View.to_source`."""
        x, y, _, _ = self.view.content
        return self.view.to_source(np.asarray(points, np.float64) + np.tile((x, y), np.shape(points)[-1] // 2))
