"""What is drawn on a picture besides boxes: masks, keypoints with their skeleton, lines and polygons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image, View
from cvpipe.inference.labels import COCO_SKELETON
from cvpipe.results import FrameRecord
from cvpipe.rle import Mask
from cvpipe.shapes import Shape

Colour = tuple[int, int, int]
Skeleton = Sequence[tuple[int, int]]

_OPACITY: Final = 0.45
_LEAST_SCORE: Final = 0.2
"""Keypoints that are less sure are not drawn."""


def paint_mask(image: Image, mask: Mask, view: View, colour: Colour, cv2: Any) -> None:
    """Tint the pixels of a mask of the source frame, in place; image: (height, width, 3) of the view."""
    left, top, width, height = view.region
    x, y, across, down = view.content
    inside = _pixels(mask, view)[top : top + height, left : left + width]
    if not inside.any():
        return
    if inside.shape != (down, across):
        inside = cv2.resize(inside.astype(np.uint8), (across, down), interpolation=cv2.INTER_NEAREST).astype(bool)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = image[y : y + down, x : x + across][box]
    tint = part[inside[box]].astype(np.float32)
    tint += (np.array(colour, np.float32) - tint) * _OPACITY
    part[inside[box]] = tint.round().astype(np.uint8)


def masks_in(record: FrameRecord) -> Iterator[tuple[str, str, Mask]]:
    """Masks that stand in values, of the frame and of its objects: name of the stage, label, mask."""
    for values in (record.values, *record.objects.values):
        for stage, value in (values or {}).items():
            for one in value if isinstance(value, list) else [value]:  # tiles make a list of it
                if isinstance(one, Mapping):
                    for row in (*one.get("classes", ()), *one.get("parts", ())):
                        if isinstance(row, Mapping) and "mask" in row:
                            yield stage, str(row.get("label", "")), Mask.from_dict(row["mask"])


def skeleton_for(points: npt.NDArray[np.float32], known: Skeleton | None) -> Skeleton:
    """Which keypoints are joined: as the model's card says; else, where there are 17, as a person's in COCO."""
    if known:
        return known
    return COCO_SKELETON if len(points) == 17 else ()


def draw_keypoints(
    image: Image,
    points: npt.NDArray[np.float32],
    skeleton: Skeleton,
    view: View,
    colour: Colour,
    *,
    line: int,
    cv2: Any,
) -> None:
    """Draw dots, and lines between those that the skeleton joins, in place.

    points: (k, 3) x, y in pixels of the source frame, and score. line: thickness in pixels.
    """
    places = view.from_source(points[:, :2]).round().astype(int).tolist()
    is_sure = (points[:, 2] >= _LEAST_SCORE).tolist()
    for first, last in skeleton:
        if max(first, last) < len(places) and is_sure[first] and is_sure[last]:
            cv2.line(image, places[first], places[last], colour, line, cv2.LINE_AA)
    for place, sure in zip(places, is_sure, strict=True):
        if sure:
            cv2.circle(image, place, line + 2, (16, 16, 16), -1, cv2.LINE_AA)
            cv2.circle(image, place, line + 1, (255, 255, 255), -1, cv2.LINE_AA)


def draw_shape(image: Image, shape: Shape, view: View, colour: Colour, *, line: int, cv2: Any) -> None:
    """Draw a line or the outline of a polygon, in place. line: thickness in pixels."""
    places = view.from_source(np.array(shape.points)).round().astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(image, [places], shape.is_closed, (16, 16, 16), line + 2, cv2.LINE_AA)
    cv2.polylines(image, [places], shape.is_closed, colour, line, cv2.LINE_AA)


def draw_dashes(image: Image, box: tuple[int, int, int, int], colour: Colour, *, line: int, cv2: Any) -> None:
    """Draw a box of dashes, in place: where something must be that nobody saw. line: thickness in pixels."""
    left, top, right, bottom = box
    dash, step = 5 * line, 9 * line
    sides = [((x, y), (min(x + dash, right), y)) for y in (top, bottom) for x in range(left, right, step)]
    sides += [((x, y), (x, min(y + dash, bottom))) for x in (left, right) for y in range(top, bottom, step)]
    for shade, thickness in (((16, 16, 16), line + 2), (colour, line)):
        for start, end in sides:
            cv2.line(image, start, end, shade, thickness)


def counts_of(shape: Shape, record: FrameRecord) -> str:
    """`gate  in 3  out 1`: a shape's name, and the whole numbers that its stage tells of it."""
    told = record.values.get(shape.stage)
    numbers = told.get(shape.name) if isinstance(told, Mapping) else None
    counts = numbers.items() if isinstance(numbers, Mapping) else ()
    return "  ".join([shape.name, *(f"{name} {count}" for name, count in counts if type(count) is int)])


def _pixels(mask: Mask, view: View) -> npt.NDArray[np.bool_]:
    """The mask's pixels; none where it is of another picture."""
    if (mask.width, mask.height) != view.source:
        return np.zeros((view.source[1], view.source[0]), bool)
    return mask.pixels()
