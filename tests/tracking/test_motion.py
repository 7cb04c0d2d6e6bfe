from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from cvpipe.tracking import motion

BOX = np.array([100.0, 50.0, 40.0, 16.0])
SIZE = np.array([40.0, 16.0, 40.0, 16.0])


def matrix_filter(
    steps: list[tuple[float, npt.NDArray[np.float64]]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (8,) and covariance (8, 8) by the textbook's matrices; the box keeps its size, so the noise is constant."""
    mean = np.concatenate([BOX, np.zeros(4)])
    covariance = np.diag(np.concatenate([(2 / 20 * SIZE) ** 2, (10 * 30 / 160 * SIZE) ** 2]))
    see = np.eye(4, 8)
    for seconds, box in steps:
        move = np.eye(8) + seconds * np.eye(8, k=4)
        place, speed = 30 * (SIZE / 20) ** 2, 30 * (30 * SIZE / 160) ** 2
        noise = np.diag(np.concatenate([place * seconds + speed * seconds**3 / 3, speed * seconds]))
        noise += np.diag(speed * seconds**2 / 2, k=4) + np.diag(speed * seconds**2 / 2, k=-4)
        mean, covariance = move @ mean, move @ covariance @ move.T + noise
        gain = covariance @ see.T @ np.linalg.inv(see @ covariance @ see.T + np.diag((SIZE / 20) ** 2))
        mean, covariance = mean + gain @ (box - see @ mean), (np.eye(8) - gain @ see) @ covariance
    return mean, covariance


def test_the_filter_equals_the_textbooks_matrices() -> None:
    steps = [(seconds, BOX + np.array([x, y, 0, 0])) for seconds, x, y in [(0.2, 9, 1), (0.04, 10, 2), (1.0, 70, 0)]]
    states = motion.begin(BOX[None])
    for seconds, box in steps:
        motion.predict(states, seconds)
        states = motion.correct(states, box[None])
    mean, covariance = matrix_filter(steps)
    np.testing.assert_allclose(states[0, 0], mean[:4], rtol=1e-12)
    np.testing.assert_allclose(states[1, 0], mean[4:], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(states[2, 0], np.diag(covariance)[:4], rtol=1e-9)
    np.testing.assert_allclose(states[3, 0], np.diag(covariance, k=4), rtol=1e-9)
    np.testing.assert_allclose(states[4, 0], np.diag(covariance)[4:], rtol=1e-9)


def test_one_long_step_is_as_many_short_ones() -> None:
    one, many = motion.begin(BOX[None]), motion.begin(BOX[None])
    for states in (one, many):
        states[motion.VELOCITY, :, :2] = [150, -20]
    motion.predict(one, 0.5)
    for _ in range(50):
        motion.predict(many, 0.01)
    np.testing.assert_allclose(one, many, rtol=1e-9)


def test_no_time_changes_nothing() -> None:
    states = motion.begin(BOX[None])
    before = states.copy()
    motion.predict(states, 0.0)
    np.testing.assert_array_equal(states, before)


def test_the_speed_of_a_box_is_found_in_a_few_sightings() -> None:
    states = motion.begin(BOX[None])
    for number in range(1, 5):
        motion.predict(states, 0.2)
        states = motion.correct(states, BOX[None] + [[30.0 * number, 0, 0, 0]])
    assert states[motion.VELOCITY, 0, 0] == pytest.approx(150, rel=0.02)


def test_a_shrinking_box_keeps_positive_sides() -> None:
    states = motion.begin(BOX[None])
    states[motion.VELOCITY, :, 2:] = -100
    motion.predict(states, 3.0)
    assert (states[motion.POSITION, :, 2:] == 1).all()
