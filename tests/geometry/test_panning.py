from __future__ import annotations

import numpy as np
import pytest

from cvpipe.geometry.ground import Ground
from cvpipe.geometry.panning import Panning, power
from cvpipe.geometry.pose import Pose, ground_matrix, rotation_matrix, rotation_vector
from tests.geometry.views import PINHOLE, PLACES, STAND, marks_of


def turned(degrees: float) -> Pose:
    """The stand's camera, turned to the right about the vertical."""
    turn = rotation_matrix(np.radians([0, 0, degrees]))
    matrix = STAND.matrix @ turn
    return Pose(rotation_vector(matrix), -matrix @ STAND.position)


def view(degrees: float) -> Ground:
    return Ground.from_marks(marks_of(PLACES, pose=turned(degrees)))


def test_a_camera_that_turns_evenly_is_known_at_every_time_in_between() -> None:
    camera = Panning((2.0, 6.0), (view(-15), view(25)))
    for time, degrees in [(2.0, -15), (3.0, -5), (4.5, 10), (6.0, 25)]:
        wanted = ground_matrix(turned(degrees), PINHOLE)
        assert camera.at(time).matrix == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-7)


def test_before_the_first_and_after_the_last_view_it_stands_still() -> None:
    camera = Panning((2.0, 6.0), (view(-15), view(25)))
    assert camera.at(0.0) is camera.grounds[0]
    assert camera.at(9.0) is camera.grounds[1]


def test_between_two_views_their_errors_are_weighed() -> None:
    camera = Panning((0.0, 1.0), (view(0), view(1)))
    sizes = [camera.at(time).covariance.trace() for time in (0.0, 0.5, 1.0)]
    # Halfway, two independent errors of half the weight each have half the variance.
    assert sizes[1] == pytest.approx((sizes[0] + sizes[2]) / 4, rel=0.1)


def test_the_power_of_a_homography_is_its_share() -> None:
    matrix = ground_matrix(turned(20), PINHOLE) @ np.linalg.inv(ground_matrix(STAND, PINHOLE))
    third = power(matrix, 1 / 3)
    whole = third @ third @ third
    assert whole / whole[2, 2] == pytest.approx(matrix / matrix[2, 2], rel=1e-8)


def test_times_ascend_and_mirror_images_are_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        Panning((1.0, 1.0), (view(0), view(1)))
    with pytest.raises(ValueError, match="mirror"):
        power(np.diag([-1.0, 1, 1]), 0.5)
