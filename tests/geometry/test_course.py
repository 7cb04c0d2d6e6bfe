from __future__ import annotations

import math

import msgpack
import numpy as np
import numpy.typing as npt
import pytest

from cvpipe.geometry.course import Course, Motion
from cvpipe.geometry.ground import Ground
from tests.geometry.views import marks_of

EXACT = np.zeros((2, 9))
CERTAIN = np.zeros((9, 9))


def follow(
    places: npt.NDArray[np.float64], *, fps: float = 25, noise: float = 0.0, window: float = 1.0, cut: int | None = None
) -> Motion:
    """The motion at the end of a way; cut: moved to another process at this position."""
    course, motion = Course(window), None
    for number, place in enumerate(places):
        if number == cut:
            course = Course.restore(window, msgpack.unpackb(msgpack.packb(course.state())))
        course.add(number / fps, place, EXACT, np.eye(2) * noise**2)
        motion = course.motion(CERTAIN)
    assert motion is not None
    return motion


def straight(seconds: float, velocity: tuple[float, float], fps: float = 25) -> npt.NDArray[np.float64]:
    return np.arange(round(seconds * fps) + 1)[:, None] / fps * np.array(velocity)


def test_an_even_way_has_its_speed_its_direction_and_its_length() -> None:
    motion = follow(straight(4, (3, -4)))
    assert motion.speed == pytest.approx(5)
    assert motion.velocity == pytest.approx((3, -4))
    assert motion.direction == pytest.approx(360 - math.degrees(math.atan2(4, 3)))
    assert motion.distance == pytest.approx(20)
    assert motion.speed_deviation == motion.distance_deviation == 0


def test_a_way_around_a_corner_is_as_long_as_both_legs() -> None:
    first = straight(3, (4, 0))
    second = first[-1] + straight(3, (0, 4))[1:]
    assert follow(np.concatenate([first, second])).distance == pytest.approx(24, abs=0.4)


def test_what_stands_and_jitters_has_gone_nowhere() -> None:
    rng = np.random.default_rng(1)
    motion = follow(rng.normal(0, 0.2, (1500, 2)), noise=0.2)
    assert motion.distance < 3  # its positions are 420 m apart, one by one
    assert motion.speed < 4 * motion.speed_deviation


def test_jitter_makes_a_way_hardly_longer_and_its_speed_as_unsure_as_said() -> None:
    rng = np.random.default_rng(2)
    way = straight(40, (2, 1))
    found = [follow(way + rng.normal(0, 0.25, way.shape), noise=0.25) for _ in range(3)]
    length = 40 * math.sqrt(5)
    for motion in found:
        assert motion.distance == pytest.approx(length, rel=0.02)
    scatter = []
    for _ in range(150):
        short = straight(1, (2, 1))
        scatter.append(follow(short + rng.normal(0, 0.25, short.shape), noise=0.25).speed)
    assert np.std(scatter) == pytest.approx(found[0].speed_deviation, rel=0.2)


def test_the_calibration_s_error_moves_places_more_than_speeds() -> None:
    ground = Ground.from_marks(marks_of())
    way = np.array([20.0, 15.0]) + straight(2, (3, 0))
    located = ground.locate(ground.see(way), np.full((len(way), 2), 1e-9))
    course = Course(1.0)
    for number in range(len(way)):
        course.add(number / 25, located.position[number], located.sensitivity[number], located.noise[number])
        motion = course.motion(ground.covariance)
    assert motion is not None
    place = math.sqrt(ground.covariance_of(located)[-1].trace())
    assert 0 < motion.speed_deviation < place / 3
    # A camera that sees everything 1 % too large also sees every way 1 % too long.
    assert motion.distance_deviation == pytest.approx(2 * motion.speed_deviation, rel=0.3)


@pytest.mark.parametrize("cut", [1, 30, 99])
def test_it_goes_on_in_another_process_exactly(cut: int) -> None:
    rng = np.random.default_rng(4)
    way = straight(4, (2, 2)) + rng.normal(0, 0.1, (101, 2))
    assert follow(way, noise=0.1, cut=cut) == follow(way, noise=0.1)


def test_one_position_is_no_motion() -> None:
    course = Course(1.0)
    course.add(0.0, np.zeros(2), EXACT, np.eye(2))
    assert course.motion(CERTAIN) is None
