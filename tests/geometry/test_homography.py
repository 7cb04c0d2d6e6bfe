from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cvpipe.geometry.ground import Ground
from cvpipe.geometry.homography import apply, fit_homography
from cvpipe.geometry.marks import Marks, line_through
from cvpipe.geometry.pose import ground_matrix
from tests.geometry.views import PINHOLE, PLACES, STAND, marks_of


def test_four_points_give_the_homography_that_maps_the_unit_square() -> None:
    # x' = 100 (x + 1) / (y + 1), y' = 50 / (y + 1), written out for the four corners.
    world = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    pixel = np.array([[100, 50], [200, 50], [100, 25], [50, 25.0]])
    matrix, _, found = fit_homography(Marks(pixel, world))
    assert matrix / matrix[2, 2] == pytest.approx(np.array([[100, 0, 100], [0, 0, 50], [0, 1, 1]]), abs=1e-6)
    assert np.abs(found.residuals).max() < 1e-9


def test_a_camera_s_homography_is_found_again() -> None:
    wanted = ground_matrix(STAND, PINHOLE)
    assert fit_homography(marks_of())[0] == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-9)


def test_pixels_on_lines_alone_give_it_too() -> None:
    view = Ground(ground_matrix(STAND, PINHOLE) / np.linalg.norm(ground_matrix(STAND, PINHOLE)), np.zeros((9, 9)))
    lines, pixels = [], []
    for first, second in [((-40, -30), (40, -30)), ((-40, 30), (40, 30)), ((-20, -9), (-20, 9)), ((35, 0), (35, 8))]:
        ends = np.array([first, second], float)
        for share in (0.2, 0.5, 0.9):  # not the ends: somewhere on it
            pixels.append(view.see(ends[:1] * (1 - share) + ends[1:] * share)[0])
            lines.append(line_through(first, second))
    matrix, _, _ = fit_homography(Marks(on_line=np.array(pixels), line=np.array(lines)))
    assert matrix == pytest.approx(view.matrix, abs=1e-8)


def test_what_is_left_open_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 points, or 8 pixels on lines"):
        fit_homography(marks_of(PLACES[:3]))
    with pytest.raises(ValueError, match="leave the view open"):
        fit_homography(marks_of([[-20, 0], [-5, 0], [8, 0], [30, 0], [0, 20]]))
    on_lines = marks_of([[-30, 5], [0, 5], [10, 5], [20, 5], [-30, -5], [0, -5], [7, -5], [20, -5]])
    lines = np.array([line_through((0, y), (1, y)) for y in [5] * 4 + [-5] * 4])
    with pytest.raises(ValueError, match="leave the view open"):
        fit_homography(Marks(on_line=on_lines.pixel, line=lines))


def test_a_point_paired_with_a_wrong_place_shows_in_its_residual() -> None:
    marks = marks_of()
    wrong = marks.pixel.copy()
    wrong[6] += (40, -25)
    apart = fit_homography(replace(marks, pixel=wrong))[2].residuals[: 2 * len(PLACES)].reshape(-1, 2)
    assert np.argmax(np.hypot(*apart.T)) == 6


def test_the_uncertainty_of_the_ground_is_what_repeated_calibrations_scatter_by() -> None:
    rng = np.random.default_rng(5)
    truth = marks_of()
    looked_at = np.array([[0.0, 20.0], [-25.0, -15.0], [45.0, 35.0]])
    pixels = apply(ground_matrix(STAND, PINHOLE), looked_at)
    found = []
    for _ in range(200):
        noisy = replace(truth, pixel=truth.pixel + rng.normal(0, 0.8, truth.pixel.shape), deviation=0.8)
        seen = pixels + rng.normal(0, (1.5, 2.5), pixels.shape)
        found.append(Ground.from_marks(noisy).locate(seen, np.ones_like(seen)).position)
    scatter = np.array(found) - np.array(found).mean(axis=0)
    measured = np.einsum("rni,rnj->nij", scatter, scatter) / (len(found) - 1)
    ground = Ground.from_marks(replace(truth, deviation=0.8))
    said = ground.covariance_of(ground.locate(pixels, np.tile([1.5, 2.5], (3, 1))))
    # 200 tries tell a standard deviation to 5 %, so a variance to 10 %; three times that.
    assert np.diagonal(measured, axis1=1, axis2=2) == pytest.approx(np.diagonal(said, axis1=1, axis2=2), rel=0.3)
    for one, other in zip(measured, said, strict=True):  # also along the axes of the ellipse
        whitened = np.linalg.inv(np.linalg.cholesky(other))
        assert np.linalg.eigvalsh(whitened @ one @ whitened.T) == pytest.approx(1, abs=0.35)


def test_marks_that_fit_worse_than_they_claim_make_the_ground_less_sure() -> None:
    rng = np.random.default_rng(2)
    marks = marks_of(noise=rng.normal(0, 5, (8, 2)))
    claimed = marks_of(deviation=1.0)
    honest = Ground.from_marks(marks).covariance.trace() / Ground.from_marks(claimed).covariance.trace()
    assert 8 < honest < 80  # 5 times the deviation is 25 times the variance, from 8 spare observations
