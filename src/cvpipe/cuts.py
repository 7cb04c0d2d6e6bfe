"""Cuts: pictures of objects, upright as they are, or turned so that what they show stands upright."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.frames import Image, View
from cvpipe.picks import Cutting
from cvpipe.quality import sharpness
from cvpipe.results import Objects
from cvpipe.rle import Mask

Floats = npt.NDArray[np.float64]

FACE_SIDE: Final = 112
_FACE: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where networks for faces expect the eyes, the nose and the corners of the mouth, on 112 x 112 pixels (ArcFace)."""


def cut_upright(
    image: Image,
    box: npt.ArrayLike,
    cv2: Any,
    *,
    mask: Mask | None = None,
    grow: float = 1.0,
    square: bool = False,
    max_side: int = 640,
    pad: int = 114,
) -> Cutting | None:
    """The part of a frame that a box shows, by whole pixels; None where nothing of it is on the frame.

    image: the displayed source frame, (height, width, 3) BGR. box: (4,) x1, y1, x2, y2 in its pixels. mask: what it
    leaves out is `pad`. grow, square: see the options of `crops`. Beyond the frame is `pad`.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.asarray(box, np.float64).tolist()
    wide, high = (x2 - x1) * grow, (y2 - y1) * grow
    if square:
        wide = high = max(wide, high)
    left, top = round((x1 + x2 - wide) / 2), round((y1 + y2 - high) / 2)
    right, bottom = max(left + 1, round((x1 + x2 + wide) / 2)), max(top + 1, round((y1 + y2 + high) / 2))
    if square:  # rounding must not make it one pixel longer than wide
        right, bottom = left + max(right - left, bottom - top), top + max(right - left, bottom - top)
    inside = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return None
    region = (inside[0], inside[1], inside[2] - inside[0], inside[3] - inside[1])
    view = View(
        source=(width, height),
        width=right - left,
        height=bottom - top,
        content=(inside[0] - left, inside[1] - top, region[2], region[3]),
        region=region,
        pad=pad,
    )
    if max(view.width, view.height) > max_side:
        view = view.resized(max_side, max_side)
    part = image[inside[1] : inside[3], inside[0] : inside[2]]
    shown = part
    if mask is not None:
        is_object = mask.pixels()[inside[1] : inside[3], inside[0] : inside[2]]
        shown = np.where(is_object[..., None], part, np.uint8(pad))
    return Cutting(view, _on_canvas(shown, view, cv2), sharpness(part, cv2))


def cut_turned(
    image: Image, outline: Floats, cv2: Any, *, size: tuple[int, int] | None, max_side: int = 640, pad: int = 114
) -> Cutting | None:
    """The part of a frame in a rectangle that lies askew, turned upright; None where it has no area.

    outline: (3, 2), where its corners top left, top right and bottom left lie, in pixels of the displayed source frame.
    size: width and height of the picture; None: as large as it is on the frame, no side longer than `max_side`.
    """
    across, down = (float(np.hypot(*(outline[n] - outline[0]))) for n in (1, 2))
    if size is None:
        scale = min(1.0, max_side / max(across, down, 1.0))
        size = (max(1, round(across * scale)), max(1, round(down * scale)))
    if min(across, down) < 1:
        return None
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]]], np.float64)
    to_frame = _affine(corners, outline)
    # OpenCV counts from the middle of the first pixel, boxes and points here from its corner.
    centred = to_frame.copy()
    centred[:, 2] += to_frame[:, :2] @ (0.5, 0.5) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture = cv2.warpAffine(
        image, centred, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(pad, pad, pad)
    )
    return Cutting(View.of(*size), picture, sharpness(picture, cv2), to_frame)


def outline_of(objects: Objects, grow: float) -> Floats | None:
    """How the first of some objects lies on its frame, (3, 2) as `cut_turned` takes it; None where nothing tells.

    By the corners of a line of text (`quad` in its values), else by its mask: along the longer axis, at most 45 degrees
    from level.
    """
    quad = next(
        (v["quad"] for v in (objects.values[0] or {}).values() if isinstance(v, dict) and len(v.get("quad", ())) == 4),
        None,
    )
    if quad is not None:
        first, second, third, fourth = np.asarray(quad, np.float64)
        centre = (first + second + third + fourth) / 4
        across, down = (second - first + third - fourth) / 2, (fourth - first + third - second) / 2
    elif objects.mask[0] is not None:
        rows, columns = np.nonzero(objects.mask[0].pixels())
        if len(rows) < 3:
            return None
        points = np.stack([columns + 0.5, rows + 0.5], axis=1)
        _, axes = np.linalg.eigh(np.cov(points.T))
        axis = axes[:, 1]
        if abs(axis[0]) < abs(axis[1]):
            axis = np.array([axis[1], -axis[0]])
        axis = axis * np.sign(axis[0])
        normal = np.array([-axis[1], axis[0]])
        along, beside = points @ axis, points @ normal
        centre = axis * (along.min() + along.max()) / 2 + normal * (beside.min() + beside.max()) / 2
        across, down = axis * np.ptp(along), normal * np.ptp(beside)
    else:
        return None
    across, down = across * grow, down * grow
    corner = centre - (across + down) / 2
    return np.stack([corner, corner + across, corner + down])


def face_outline(points: npt.NDArray[np.float32]) -> Floats:
    """Where the corners of a face's picture lie on the frame, (3, 2) as `cut_turned` takes it.

    points: (5, 3) the eye on the left of the picture, the other one, nose, the corners of the mouth. The similarity
    that brings them nearest to where they are expected is found by least squares (Umeyama 1991).
    """
    there = points[:, :2].astype(np.float64)
    middle, wanted = there.mean(axis=0), _FACE.mean(axis=0)
    u, spread, vt = np.linalg.svd((there - middle).T @ (_FACE - wanted) / len(there))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(sign) @ vt
    scale = float((spread * sign).sum() / ((_FACE - wanted) ** 2).sum(axis=1).mean())
    corners = np.array([[0, 0], [FACE_SIDE, 0], [0, FACE_SIDE]], np.float64)
    return np.asarray((corners - wanted) @ turn.T * scale + middle)


def moved(points: npt.NDArray[np.floating], to_frame: Floats) -> npt.NDArray[np.float32]:
    """Points (n, 2) of a turned picture in pixels of its frame."""
    return np.asarray(points.astype(np.float64) @ to_frame[:, :2].T + to_frame[:, 2], np.float32)


def _affine(src: Floats, dst: Floats) -> Floats:
    """The (2, 3) affine map that takes three points to three others."""
    return np.asarray(np.linalg.solve(np.column_stack([src, np.ones(3)]), dst).T)


def _on_canvas(part: Image, view: View, cv2: Any) -> Image:
    x, y, width, height = view.content
    if part.shape[:2] != (height, width):
        shrinks = part.shape[1] >= width and part.shape[0] >= height
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        part = cv2.resize(part, (width, height), interpolation=how)
    if (width, height) == (view.width, view.height):
        return np.ascontiguousarray(part)
    canvas = np.full(view.shape, view.pad, np.uint8)
    canvas[y : y + height, x : x + width] = part
    return canvas
