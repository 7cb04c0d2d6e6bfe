from __future__ import annotations

import numpy as np
import pytest

from cvpipe.geometry.ground import Ground
from cvpipe.geometry.pose import LENS_PARAMETERS, fit_pose
from tests.geometry.views import LENS, marks_of


def bent_ground() -> Ground:
    pose, lens, covariance, _ = fit_pose(marks_of(lens=LENS), LENS, np.zeros(LENS_PARAMETERS))
    return Ground.from_pose(pose, lens, covariance)


def test_pixels_are_located_where_they_were_seen() -> None:
    ground = bent_ground()
    places = np.array([[0, 0], [-31.5, 12], [44, -20], [3, 80.0]])
    located = ground.locate(ground.see(places), np.ones((4, 2)))
    assert located.position == pytest.approx(places, abs=1e-6)
    assert located.seen.tolist() == [True] * 4


def test_what_is_above_the_horizon_is_no_ground() -> None:
    located = Ground.from_marks(marks_of()).locate(np.array([[960.0, 20.0], [960.0, 540.0]]), np.ones((2, 2)))
    assert located.seen.tolist() == [False, True]
    assert np.isfinite(located.position).all()


def test_what_is_behind_the_camera_is_not_seen() -> None:
    assert np.isnan(Ground.from_marks(marks_of()).see(np.array([[0.0, -100.0]]))).all()


def test_an_error_of_one_pixel_is_wider_far_away() -> None:
    ground = Ground.from_marks(marks_of())
    pixels = ground.see(np.array([[0, -20], [0, 60.0]]))
    deviation = np.sqrt(np.diagonal(ground.locate(pixels, np.ones((2, 2))).noise, axis1=1, axis2=2))
    lower = ground.locate(pixels + np.array([0, 1.0]), np.ones((2, 2)))
    moved = lower.position - ground.locate(pixels, np.ones((2, 2))).position
    assert deviation[:, 1] == pytest.approx(np.abs(moved[:, 1]), rel=0.05)
    assert deviation[1, 1] > 4 * deviation[0, 1]


def test_a_pixel_s_error_goes_through_the_lens() -> None:
    ground = bent_ground()
    pixel = np.array([[1700.0, 900.0]])
    located = ground.locate(pixel, np.array([[2.0, 0.0]]))
    moved = (ground.locate(pixel + np.array([0.05, 0]), pixel).position - located.position)[0] / 0.05 * 2
    assert located.noise[0] == pytest.approx(np.outer(moved, moved), rel=0.01)


def test_two_places_are_further_from_the_truth_than_from_each_other() -> None:
    ground = Ground.from_marks(marks_of())
    located = ground.locate(ground.see(np.array([[38, 30], [38.5, 30]])), np.zeros((2, 2)))
    between = located.sensitivity[0] - located.sensitivity[1]
    alone = ground.covariance_of(located)[0].trace()
    assert np.trace(between @ ground.covariance @ between.T) < alone / 50


def test_no_pixels_are_nowhere() -> None:
    located = bent_ground().locate(np.zeros((0, 2)), np.zeros((0, 2)))
    assert (located.position.shape, located.sensitivity.shape) == ((0, 2), (0, 2, 9))
