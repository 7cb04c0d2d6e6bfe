"""Cuts: pictures of objects, pixel by pixel, and the way back to the frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.cuts import cut_turned, cut_upright, face_outline, moved, outline_of
from cvpipe.picks import Cutting
from cvpipe.results import Objects
from cvpipe.rle import Mask


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """120 x 90, every pixel another: blue is its column, green its row."""
    rows, columns = np.indices((90, 120))
    return np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


def cut(frame: np.ndarray, box: list[float], **options: object) -> Cutting:
    cutting = cut_upright(frame, box, cv2, **options)  # type: ignore[arg-type]
    assert cutting is not None
    return cutting


def test_a_box_is_cut_out_by_whole_pixels(frame: np.ndarray) -> None:
    cutting = cut(frame, [10.4, 19.6, 39.8, 50.2])
    assert np.array_equal(cutting.image, frame[20:50, 10:40])
    assert cutting.view.to_source(np.array([[0, 0, 30, 30]])).tolist() == [[10, 20, 40, 50]]
    assert cutting.to_frame is None


def test_beyond_the_frame_is_grey_and_coordinates_still_fit(frame: np.ndarray) -> None:
    cutting = cut(frame, [-10, 80, 20, 100], pad=99)
    assert cutting.image.shape == (20, 30, 3)
    assert np.array_equal(cutting.image[:10, 10:], frame[80:90, 0:20])
    assert (cutting.image[:, :10] == 99).all()
    assert (cutting.image[10:] == 99).all()
    assert cutting.view.from_source(np.array([[20, 90]])).tolist() == [[30, 10]]
    assert cut_upright(frame, [130, 10, 150, 30], cv2) is None


def test_a_square_grows_about_the_middle(frame: np.ndarray) -> None:
    cutting = cut(frame, [40, 30, 60, 40], square=True)
    assert np.array_equal(cutting.image, frame[25:45, 40:60])
    grown = cut(frame, [40, 30, 60, 40], grow=1.5, square=True)
    assert np.array_equal(grown.image, frame[20:50, 35:65])


def test_what_a_mask_leaves_out_is_grey(frame: np.ndarray) -> None:
    inside = np.zeros((90, 120), bool)
    inside[30:35, 40:50] = True
    cutting = cut(frame, [40, 30, 60, 40], mask=Mask.placed(inside, (0, 0), (120, 90)), pad=3)
    assert np.array_equal(cutting.image[:5, :10], frame[30:35, 40:50])
    assert (cutting.image[5:] == 3).all()
    assert (cutting.image[:, 10:] == 3).all()


def test_a_long_crop_is_made_smaller_by_averaging(frame: np.ndarray) -> None:
    cutting = cut(frame, [0, 0, 80, 40], max_side=40)
    assert cutting.image.shape == (20, 40, 3)
    assert cutting.image[3, 5].tolist() == [11, 7, 7]  # the means of columns 10 and 11, of rows 6 and 7, rounded up
    assert cutting.view.to_source(np.array([[10, 10]])).tolist() == [[20, 20]]


def test_a_quarter_turn_is_undone_exactly(frame: np.ndarray) -> None:
    # What is written from top to bottom: it begins at the top right.
    outline = np.array([[60, 20], [60, 50], [40, 20]], np.float64)
    cutting = cut_turned(frame, outline, cv2, size=None)
    assert cutting is not None
    assert np.array_equal(cutting.image, np.rot90(frame[20:50, 40:60], 1))
    assert cutting.to_frame is not None
    assert moved(np.array([[0.0, 0.0], [30.0, 20.0]]), cutting.to_frame).tolist() == [[60, 20], [40, 50]]
    assert cut_turned(frame, np.zeros((3, 2)), cv2, size=None) is None


def test_a_line_of_text_is_outlined_by_its_corners() -> None:
    quad = [[10, 10], [50, 20], [48, 30], [8, 20]]
    objects = Objects.make(
        stage="text", box=[[8, 10, 50, 30]], score=[1], label=["text"], values=[{"read_text": {"quad": quad}}]
    )
    outline = outline_of(objects, 1.0)
    assert outline == pytest.approx(np.array([[10, 10], [50, 20], [8, 20]]))
    assert outline_of(objects, 2.0) == pytest.approx(np.array([[-9, 0], [71, 20], [-13, 20]]))


def test_a_mask_is_outlined_along_its_longer_axis() -> None:
    picture = np.zeros((200, 200), np.uint8)
    corners = cv2.boxPoints(((100, 100), (120, 40), 30.0))
    cv2.fillPoly(picture, [corners.round().astype(np.int32)], 1)
    mask = Mask.placed(picture.astype(bool), (0, 0), (200, 200))
    objects = Objects.make(stage="s", box=[[30, 50, 170, 150]], score=[1], label=["bar"], mask=[mask])
    outline = outline_of(objects, 1.0)
    assert outline is not None
    across, down = outline[1] - outline[0], outline[2] - outline[0]
    assert np.degrees(np.arctan2(across[1], across[0])) == pytest.approx(30, abs=0.5)
    assert (np.hypot(*across), np.hypot(*down)) == (pytest.approx(120, abs=2), pytest.approx(40, abs=2))
    assert outline_of(Objects.make(stage="s", box=[[0, 0, 9, 9]], score=[1], label=["x"]), 1.0) is None


def test_a_face_comes_to_lie_where_networks_expect_it() -> None:
    from cvpipe.cuts import _FACE

    angle, scale = np.radians(25), 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.column_stack([_FACE @ turn.T + (80, 60), np.ones(5)]).astype(np.float32)
    outline = face_outline(points)
    corners = np.array([[0, 0], [112, 0], [0, 112]]) @ turn.T + (80, 60)
    assert outline == pytest.approx(corners, abs=1e-3)
    picture = np.zeros((400, 400, 3), np.uint8)
    for x, y in points[:, :2]:
        cv2.circle(picture, (round(float(x)), round(float(y))), 5, (255, 255, 255), -1)
    cutting = cut_turned(picture, outline, cv2, size=(112, 112))
    assert cutting is not None
    for x, y in _FACE:
        assert cutting.image[int(y), int(x)].min() > 200
