from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from cvpipe.geometry.ground import Ground
from cvpipe.geometry.marks import Marks, line_through
from cvpipe.geometry.pose import LENS_PARAMETERS, Pose, fit_pose, project, rotation_matrix, rotation_vector
from tests.geometry.views import LENS, PINHOLE, STAND, marks_of, on_ground

EXACT = np.zeros(LENS_PARAMETERS)


@pytest.mark.parametrize(
    "vector", [[0, 0, 0], [1e-10, 0, 0], [0.3, -1.2, 0.7], [0, 3.14159, 0], [2.0, 2.0, 1.0]], ids=str
)
def test_rotations_are_opencv_s_and_come_back(vector: list[float]) -> None:
    turned = rotation_matrix(np.array(vector, float))
    assert turned == pytest.approx(cv2.Rodrigues(np.array(vector, float))[0], abs=1e-12)
    assert rotation_matrix(rotation_vector(turned)) == pytest.approx(turned, abs=1e-9)


def test_a_camera_projects_as_opencv_does() -> None:
    world = np.array([[3.0, 1, 0], [-10, 4, 1.8], [20, -6, 0]])
    matrix = np.array([[LENS.fx, 0, LENS.cx], [0, LENS.fy, LENS.cy], [0, 0, 1]])
    seen, _ = cv2.projectPoints(world, STAND.rotation, STAND.translation, matrix, np.array(LENS.coefficients))
    assert project(STAND, LENS, world) == pytest.approx(seen[:, 0] + 0.5, abs=1e-6)


def test_a_camera_has_what_it_looks_at_in_the_middle_and_the_sky_above() -> None:
    pose = Pose.looking([5, -40, 12], [8, 3, 0])
    assert pose.position == pytest.approx([5, -40, 12])
    middle, above = project(pose, PINHOLE, np.array([[8, 3, 0], [8, 3, 2.0]]))
    assert middle == pytest.approx([960, 540])
    assert above[1] < middle[1] - 40
    assert above[0] == pytest.approx(middle[0])
    rolled = Pose.looking([5, -40, 12], [8, 3, 0], roll_degrees=10)
    tipped = project(rolled, PINHOLE, np.array([[8, 3, 2.0]]))[0] - 960 + [0, 420]
    assert np.degrees(np.arctan2(-tipped[0], -tipped[1])) == pytest.approx(10, abs=0.1)
    with pytest.raises(ValueError, match="straight down"):
        Pose.looking([0, 0, 10], [0, 0, 0])


@pytest.mark.parametrize("lens", [PINHOLE, LENS], ids=["pinhole", "bent"])
def test_a_pose_is_found_again_from_the_ground(lens: object) -> None:
    marks = marks_of(lens=lens)  # type: ignore[arg-type]
    pose, _, _, found = fit_pose(marks, lens, EXACT)  # type: ignore[arg-type]
    assert pose.position == pytest.approx([0, -60, 18], abs=1e-5)
    assert np.abs(found.residuals).max() < 1e-6


def test_a_pose_is_found_again_from_points_above_the_ground() -> None:
    world = np.array([[-20, 0, 0], [20, 3, 2.4], [5, 20, 5], [-8, -12, 1], [11, -9, 0], [0, 5, 8], [-15, 15, 3.0]])
    pose, _, _, _ = fit_pose(Marks(project(STAND, LENS, world), world), LENS, EXACT)
    assert pose.position == pytest.approx([0, -60, 18], abs=1e-5)
    with pytest.raises(ValueError, match="or 6 of which some are above it; got 4, 1 of them"):
        fit_pose(Marks(project(STAND, LENS, world[:4]), world[:4]), LENS, EXACT)


def test_a_pose_is_found_again_from_lines_bent_by_the_lens() -> None:
    ends = [((-40, -30), (40, -30)), ((-40, 30), (40, 30)), ((-20, -9), (-20, 9)), ((35, 0), (35, 8))]
    places = [np.array(a) * (1 - s) + np.array(b) * s for a, b in ends for s in (0.1, 0.4, 0.8)]
    lines = np.array([line_through(a, b) for a, b in ends for _ in range(3)])
    pose, _, _, _ = fit_pose(Marks(on_line=project(STAND, LENS, on_ground(places)), line=lines), LENS, EXACT)
    assert pose.position == pytest.approx([0, -60, 18], abs=1e-4)


def test_uncertain_lenses_and_marks_scatter_the_ground_by_what_is_said() -> None:
    rng = np.random.default_rng(11)
    deviations = np.array([6, 6, 3, 3, 0.01, 0, 0, 0, 0])
    truth = marks_of(lens=LENS)
    looked_at = np.array([[0.0, 20.0], [-25.0, -15.0], [40.0, 30.0]])
    pixels = project(STAND, LENS, on_ground(looked_at))
    found = []
    for _ in range(80):
        numbers = np.array([LENS.fx, LENS.fy, LENS.cx, LENS.cy, *LENS.coefficients]) + rng.normal(0, 1, 9) * deviations
        wrong = replace(
            LENS, fx=numbers[0], fy=numbers[1], cx=numbers[2], cy=numbers[3], coefficients=tuple(numbers[4:])
        )
        noisy = replace(truth, pixel=truth.pixel + rng.normal(0, 1, truth.pixel.shape))
        pose, lens, covariance, _ = fit_pose(noisy, wrong, deviations)
        ground = Ground.from_pose(pose, lens, covariance)
        found.append(ground.locate(pixels, np.ones_like(pixels)).position)
    measured = np.array(found).std(axis=0)
    pose, lens, covariance, _ = fit_pose(truth, LENS, deviations)
    ground = Ground.from_pose(pose, lens, covariance)
    located = ground.locate(pixels, np.full((3, 2), 1e-6))
    said = np.sqrt(np.diagonal(ground.covariance_of(located), axis1=1, axis2=2))
    assert measured == pytest.approx(said, rel=0.25)  # 80 tries tell a deviation to 8 %


def test_knowing_the_lens_makes_the_ground_surer() -> None:
    marks = marks_of([[-10, -10], [10, -10], [10, 10], [-10, 10.0]])
    pose, lens, covariance, _ = fit_pose(marks, PINHOLE, EXACT)
    far = np.array([[900.0, 200.0]])
    sure = Ground.from_pose(pose, lens, covariance)
    alone = Ground.from_marks(marks)
    apart = [g.covariance_of(g.locate(far, np.full((1, 2), 1e-6))).trace(axis1=1, axis2=2)[0] for g in (sure, alone)]
    assert apart[0] < apart[1] / 2
