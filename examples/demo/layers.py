"""Scenes put together from figures, and what of each figure can be seen in the end: the exact truth about a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cvpipe.rle import Mask
from examples.demo.drawing import Cover, Picture, place
from examples.demo.truth import Box, Joint, ThingTruth

LABELS: Final = ("person", "dog", "car")
JOINTS: Final = (
    "head",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)
"""Of a person; left and right are the person's own."""
BONES: Final = (
    *((0, 1), (0, 2), (1, 2), (1, 3), (3, 5), (2, 4), (4, 6), (1, 7), (2, 8), (7, 8)),
    *((7, 9), (9, 11), (8, 10), (10, 12)),
)
"""Pairs of joints with a line between them."""
MIRRORED: Final = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11)
"""Which joint of a person each joint looks like in a mirror."""
SIGMAS: Final = (0.079, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)
"""How exactly each joint can be told: COCO's for the same joint of real people; the head's is that of a shoulder."""

MIN_SHARE: Final = 0.35
MIN_PIXELS: Final = 80
"""Of a figure less than this can be seen: it is no mistake to miss it, nor to find it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something drawn that can be put into a scene.

    label: one of `LABELS`; empty where it only hides what is behind it. solid: (height, width) uint8, how much of each
    pixel it hides. ground: (x, y) where it stands. joints: (13, 2) places of a person's joints; None of other things.
    All in pixels of `picture`.
    """

    label: str
    picture: Picture
    solid: Cover
    ground: tuple[float, float]
    joints: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in a picture.

    box: x1, y1, x2, y2 around the pixels that can be seen. part: those pixels, (height, width) of the box. joints:
    (13, 3) x, y, and 2 where it can be seen, 1 where something is in front of it, 0 where it is off the picture.
    share: of all its pixels, on the picture or not, so many can be seen.
    """

    label: str
    box: tuple[int, int, int, int]
    part: npt.NDArray[np.bool_]
    joints: npt.NDArray[np.float32] | None
    share: float

    @property
    def counts(self) -> bool:
        """Enough of it can be seen."""
        return self.share >= MIN_SHARE and int(self.part.sum()) >= MIN_PIXELS

    def mirrored(self, width: int) -> Shown:
        """It in a mirrored picture of this width."""
        x1, y1, x2, y2 = self.box
        joints = self.joints
        if joints is not None:
            joints = joints[list(MIRRORED)] * np.float32((-1, 1, 1)) + np.float32((width, 0, 0))
        return Shown(self.label, (width - x2, y1, width - x1, y2), self.part[:, ::-1], joints, self.share)

    def truth(self, width: int, height: int) -> ThingTruth:
        """It as a record; width, height: of the picture."""
        box: Box = tuple(float(edge) for edge in self.box)  # type: ignore[assignment]
        joints = None
        if self.joints is not None:
            joints = tuple(Joint(round(float(x), 2), round(float(y), 2), int(seen)) for x, y, seen in self.joints)
        return ThingTruth(self.label, box, _mask(self.part, self.box, width, height).counts, joints, self.counts)


@dataclass(frozen=True, slots=True)
class _Put:
    """A figure's place. pixels: how many it has. region: x1, y1, x2, y2 of the part of the picture where they lie."""

    label: str
    joints: npt.NDArray[np.float32] | None
    pixels: int
    region: tuple[int, int, int, int]


class Layers:
    """A picture into which figures are put, those further away first."""

    def __init__(self, picture: npt.NDArray[np.uint8]) -> None:
        """picture: (height, width, 3), what is behind them all; it is drawn on."""
        self.picture = picture
        self._owner = np.zeros(picture.shape[:2], np.int16)
        self._put: list[_Put] = []

    def put(self, figure: Figure, x: float, y: float, *, scale: float = 1.0) -> None:
        """Stand a figure at (x, y), `scale` times as large as it is."""
        picture, solid = figure.picture, figure.solid
        height, width = solid.shape
        wide, tall = max(1, round(width * scale)), max(1, round(height * scale))
        if (wide, tall) != (width, height):
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            picture = np.asarray(cv2.resize(picture, (wide, tall), interpolation=how), np.float32)
            solid = np.asarray(cv2.resize(solid, (wide, tall), interpolation=how), np.uint8)
        scale_x, scale_y = wide / width, tall / height
        left, top = x - figure.ground[0] * scale_x, y - figure.ground[1] * scale_y
        place(self.picture, picture, left, top)
        joints = None
        if figure.joints is not None:
            joints = (figure.joints * (scale_x, scale_y) + (left, top)).astype(np.float32)
        self._put.append(_Put(figure.label, joints, *self._claim(solid, left, top)))

    def shown(self) -> list[Shown]:
        """What can be seen of the figures, in the order in which they were put; those quite hidden are left out."""
        found = []
        for number, put in enumerate(self._put, 1):
            left, top, right, bottom = put.region
            mine = self._owner[top:bottom, left:right] == number
            rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
            if not put.label or not len(rows):
                continue
            x1, y1, x2, y2 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
            part = mine[y1:y2, x1:x2]
            joints = put.joints
            if joints is not None:
                joints = np.concatenate((joints, self._sight(joints, number)), axis=1)
            box = (left + x1, top + y1, left + x2, top + y2)
            found.append(Shown(put.label, box, part, joints, float(part.sum() / put.pixels)))
        return found

    def _claim(self, solid: Cover, left: float, top: float) -> tuple[int, tuple[int, int, int, int]]:
        """Take the pixels of the newest figure from those behind it.

        Returns how many it has, on the picture or not, and the part of the picture where they lie.
        """
        x, y = int(np.floor(left)), int(np.floor(top))
        shift = np.array([[1, 0, left - x], [0, 1, top - y]], np.float32)
        moved = cv2.warpAffine(solid, shift, (solid.shape[1] + 1, solid.shape[0] + 1), flags=cv2.INTER_LINEAR) > 127
        height, width = self._owner.shape
        x1, y1, x2, y2 = max(0, x), max(0, y), min(width, x + moved.shape[1]), min(height, y + moved.shape[0])
        if x2 > x1 and y2 > y1:
            self._owner[y1:y2, x1:x2][moved[y1 - y : y2 - y, x1 - x : x2 - x]] = len(self._put) + 1
        return max(1, int(moved.sum())), (x1, y1, max(x1, x2), max(y1, y2))

    def _sight(self, joints: npt.NDArray[np.float32], number: int) -> npt.NDArray[np.float32]:
        height, width = self._owner.shape
        x, y = np.floor(joints).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        in_front = self._owner[y.clip(0, height - 1), x.clip(0, width - 1)] > number
        return np.where(inside, 2 - in_front, 0).astype(np.float32)[:, None]


def _mask(part: npt.NDArray[np.bool_], box: tuple[int, int, int, int], width: int, height: int) -> Mask:
    """`part`, which fills `box`, as a mask of the whole picture; without going through all of its pixels."""
    columns = np.zeros((part.shape[1], part.shape[0] + 2), bool)
    columns[:, 1:-1] = part.T
    column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])  # where runs begin and end, in turns
    at = (box[0] + column) * height + box[1] + row
    edges = np.concatenate(([0], at, [width * height]))
    # A run to the bottom of a column and one from the top of the next are one.
    runs = np.diff(edges)
    joined = np.flatnonzero(runs[2:-1:2] == 0) * 2 + 2
    edges = np.delete(edges, np.concatenate((joined, joined + 1)))
    return Mask.of_runs(height, width, np.diff(edges))
