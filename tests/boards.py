"""A chessboard held before a camera whose lens is known: a video to calibrate it from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cvpipe.geometry.homography import apply
from cvpipe.geometry.pose import Pose, ground_matrix
from cvpipe.lens import Lens
from tests.video.clips import make_clip

COLUMNS, ROWS = 8, 5
SIZE = (480, 304)
LENS = Lens(fx=390, fy=386, cx=241.8, cy=149.0, coefficients=(-0.22, 0.08, 0.0, 0.0, 0.0))
FRAMES = 12


def _pose(number: int) -> Pose:
    """Where the board is held: here and there, tilted this way and that. Squares are 1 long."""
    angle = 2 * np.pi * number / FRAMES
    rotation = np.array([0.55 * np.sin(angle), 0.55 * np.cos(angle), 0.2 * np.sin(2 * angle)])
    middle = np.array([1.9 * np.cos(3 * angle), 1.1 * np.sin(3 * angle), 13.0 + np.sin(angle)])
    pose = Pose(rotation, np.zeros(3))
    return Pose(rotation, middle - pose.matrix @ np.array([(COLUMNS - 1) / 2, (ROWS - 1) / 2, 0]))


@cache
def _straight(width: int, height: int) -> Any:
    """Where each quarter of a pixel was seen in the straightened picture: (2 height, 2 width, 2)."""
    x, y = np.meshgrid(np.arange(2 * width) / 2 + 0.25, np.arange(2 * height) / 2 + 0.25)
    return LENS.straighten(np.stack([x, y], axis=-1))


def draw(number: int, width: int, height: int) -> Any:
    """Frame `number`, uint8 (height, width, 3): averaged over 4 points of each pixel."""
    straight = _straight(width, height)
    back = np.linalg.inv(ground_matrix(_pose(number), LENS))
    u, v = np.moveaxis(apply(back, straight.reshape(-1, 2)).reshape(straight.shape), -1, 0)
    is_white = (np.floor(u) + np.floor(v)) % 2 == 0
    is_board = (u > -1) & (v > -1) & (u < COLUMNS) & (v < ROWS)
    is_paper = (u > -1.8) & (v > -1.8) & (u < COLUMNS + 0.8) & (v < ROWS + 0.8)
    grey = np.where(is_board, np.where(is_white, 230.0, 30.0), np.where(is_paper, 230.0, 120.0))
    grey = grey.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)


def make_board_clip(path: Path, *, frames: int = FRAMES) -> Path:
    """The video, H.264 in MP4."""
    return make_clip(path, frames=frames, size=SIZE, options={"crf": "8"}, draw=draw)
