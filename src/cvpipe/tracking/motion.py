"""Where boxes will be: a constant-velocity Kalman filter for each of the four coordinates of many boxes at once.

A box is centre x, centre y, width, height (the state of BoT-SORT, which follows wide and narrow boxes better than
ByteTrack's height and aspect ratio). With noise that is independent between the four, the 8x8 filter of the papers
falls apart into four of 2x2, which are written out here: no matrices, no inverse, the same numbers.

Time is seconds. The papers count frames of 30 per second video; their noise per frame is spread over time, so that
decimated and variable-rate video gets the uncertainty that belongs to the time that passed.

Sources: Zhang et al., ByteTrack, 2022, https://arxiv.org/abs/2110.06864 (noise, as in its code);
Aharon et al., BoT-SORT, 2022, https://arxiv.org/abs/2206.14651 (state, noise by width and height).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

States = npt.NDArray[np.float64]
"""(5, n, 4): for each box and coordinate its position, velocity (px/s), and their variances and covariance."""

POSITION: Final = 0
VELOCITY: Final = 1
_VAR_POSITION: Final = 2
_COVARIANCE: Final = 3
_VAR_VELOCITY: Final = 4
ROWS: Final = 5

_FRAMES_PER_SECOND: Final = 30.0
# Standard deviations as shares of the box's width (x, width) and height (y, height).
_MEASURE: Final = (1 / 20) ** 2
_DRIFT_POSITION: Final = (1 / 20) ** 2 * _FRAMES_PER_SECOND
_DRIFT_VELOCITY: Final = (_FRAMES_PER_SECOND / 160) ** 2 * _FRAMES_PER_SECOND
_START_POSITION: Final = (2 / 20) ** 2
_START_VELOCITY: Final = (10 * _FRAMES_PER_SECOND / 160) ** 2
_LEAST_SIDE: Final = 1.0  # px; a lost box that shrinks must not turn inside out


def empty() -> States:
    """The states of no boxes."""
    return np.zeros((ROWS, 0, 4))


def begin(boxes: npt.NDArray[np.float64]) -> States:
    """States at rest from boxes seen once: (n, 4) centre x, centre y, width, height in pixels."""
    states = np.zeros((ROWS, len(boxes), 4))
    states[POSITION] = boxes
    size = _squared_size(states)
    states[_VAR_POSITION] = _START_POSITION * size
    states[_VAR_VELOCITY] = _START_VELOCITY * size
    return states


def predict(states: States, seconds: float) -> None:
    """Move the states on in time, in place."""
    position, velocity, var_position, covariance, var_velocity = states
    size = _squared_size(states)
    # White noise on position and velocity, integrated over the step: right for any step, unlike noise per frame.
    var_position += seconds * (2 * covariance + seconds * var_velocity)
    var_position += size * (_DRIFT_POSITION * seconds + _DRIFT_VELOCITY * seconds**3 / 3)
    covariance += seconds * var_velocity + size * (_DRIFT_VELOCITY * seconds**2 / 2)
    var_velocity += size * (_DRIFT_VELOCITY * seconds)
    position += velocity * seconds
    np.maximum(position[:, 2:], _LEAST_SIDE, out=position[:, 2:])


def correct(states: States, boxes: npt.NDArray[np.float64]) -> States:
    """The states after boxes, (n, 4), were seen where they were predicted."""
    position, velocity, var_position, covariance, var_velocity = states
    total = var_position + _MEASURE * _squared_size(states)
    gain = var_position / total
    gain_velocity = covariance / total
    innovation = boxes - position
    rest = 1 - gain
    return np.stack(
        (
            position + gain * innovation,
            velocity + gain_velocity * innovation,
            rest * var_position,
            rest * covariance,
            var_velocity - gain_velocity * covariance,
        )
    )


def warp(states: States, matrix: npt.NDArray[np.float64]) -> None:
    """Move the states as a camera's motion has moved the picture, in place.

    matrix: (2, 3), what was at x, y is now at matrix @ (x, y, 1). Sizes and uncertainties grow with the picture; that
    a turn of the picture mixes those of x and y is left out.
    """
    turned, moved = matrix[:, :2], matrix[:, 2]
    area = abs(float(turned[0, 0] * turned[1, 1] - turned[0, 1] * turned[1, 0]))
    for row in (POSITION, VELOCITY):
        x, y = states[row, :, 0].copy(), states[row, :, 1].copy()
        states[row, :, 0] = turned[0, 0] * x + turned[0, 1] * y
        states[row, :, 1] = turned[1, 0] * x + turned[1, 1] * y
        states[row, :, 2:] *= area**0.5
    states[POSITION, :, :2] += moved
    states[_VAR_POSITION:] *= area


def doubt(states: States) -> npt.NDArray[np.float64]:
    """(n, 2): standard deviation of each box's centre in x and y, pixels."""
    deviation: npt.NDArray[np.float64] = np.sqrt(states[_VAR_POSITION][:, :2])
    return deviation


def _squared_size(states: States) -> npt.NDArray[np.float64]:
    """(n, 4): width, height, width, height, squared; at least a pixel each."""
    size: npt.NDArray[np.float64] = np.maximum(states[POSITION][:, _SIDES], _LEAST_SIDE)
    return size**2


_SIDES: Final = np.array([2, 3, 2, 3])
