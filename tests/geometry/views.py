"""Cameras of which everything is known, to find again from what they see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.marks import Marks
from cvpipe.geometry.pose import Pose, project
from cvpipe.lens import Lens

LENS = Lens(fx=1400, fy=1400, cx=959.5, cy=539.5, coefficients=(-0.12, 0.03, 0.0005, -0.0004, 0.0))
PINHOLE = Lens(fx=1400, fy=1400, cx=959.5, cy=539.5, coefficients=(0, 0, 0, 0, 0))
STAND = Pose.looking([0, -60, 18], [0, 0, 0])
PLACES = np.array([[-30, -20], [30, -20], [30, 25], [-30, 25], [0, 0], [-15, 10], [12, -9], [20, 5.0]])


def on_ground(places: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Places (n, 2) with a height of 0."""
    flat = np.asarray(places, np.float64)
    return np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)


def marks_of(
    places: npt.ArrayLike = PLACES,
    *,
    pose: Pose = STAND,
    lens: Lens = PINHOLE,
    noise: npt.NDArray[np.float64] | float = 0.0,
    deviation: float = 1.0,
) -> Marks:
    """What a camera sees of places on the ground, with an error added to its pixels."""
    world = on_ground(places)
    return Marks(project(pose, lens, world) + noise, world, deviation=deviation)
