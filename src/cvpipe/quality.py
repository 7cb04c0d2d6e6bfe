"""Quality: how much an object's picture can tell, as one number, from what is known of it and from its pixels.

    quality = score * size * whole * pose * sharpness

Each factor lies between 0 and 1:

- score: the detector's confidence.
- size: the side of a square of the box's area over 256 pixels, 1 from there on.
- whole: 1; 0.5 where the box touches an edge of the frame, so that a part of the object is probably cut off.
- pose: with keypoints, the mean of their scores; of a face with five of them, times how much it faces the camera: the
  distance of the nose from the nearer eye over that from the farther one, along the line of the eyes. Else 1.
- sharpness: v / (v + 150), v being the variance of the Laplacian (kernel 0 1 0, 1 -4 1, 0 1 0) of the object's grey
  picture, made no longer than 128 pixels first, so that near and far objects compare.

The product of all but the last is the *merit*: it needs no pixels.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image
from cvpipe.results import Objects

FULL_SIDE: Final = 256
SHARP_SIDE: Final = 128
_HALF_SHARP: Final = 150.0
_CUT_OFF: Final = 0.5
_FACE_POINTS: Final = 5


def merit(objects: Objects, place: int, frame: tuple[int, int]) -> float:
    """What a record says of an object's quality, 0 to 1.

    place: in the list of objects. frame: width and height of the displayed source frame, in pixels.
    """
    x1, y1, x2, y2 = objects.box[place].astype(np.float64).tolist()
    size = min(1.0, float(np.sqrt(max(0.0, x2 - x1) * max(0.0, y2 - y1))) / FULL_SIDE)
    is_whole = x1 > 0 and y1 > 0 and x2 < frame[0] and y2 < frame[1]
    points = objects.keypoints[place]
    return float(objects.score[place]) * size * (1.0 if is_whole else _CUT_OFF) * _pose(points)


def sharpness(image: Image, cv2: Any) -> float:
    """How sharp a picture is, 0 to 1: uint8 (height, width, 3) BGR."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    scale = SHARP_SIDE / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    variance = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    return variance / (variance + _HALF_SHARP)


def _pose(points: npt.NDArray[np.float32] | None) -> float:
    if points is None or not len(points):
        return 1.0
    mean = float(points[:, 2].mean().clip(0, 1))
    return mean * _frontal(points) if len(points) == _FACE_POINTS else mean


def _frontal(points: npt.NDArray[np.float32]) -> float:
    """How much a face with its two eyes and its nose first faces the camera; 0 where the nose is beyond an eye."""
    first, second, nose = points[:3, :2].astype(np.float64)
    line = second - first
    length = float(np.hypot(*line))
    if not length:
        return 0.0
    along = float((nose - first) @ line) / length
    near, far = sorted((along, length - along))
    return max(0.0, near / far)
