"""What is done to the pixels of a view, on pictures of which the result is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.frames import Filter
from cvpipe.lens import Lens
from cvpipe.video.filters import Straightener, make_filter, to_format
from tests.video.clips import picture

COLOUR = np.ascontiguousarray(picture(7, 160, 96)[:, :, ::-1])
GRAY = cv2.cvtColor(COLOUR, cv2.COLOR_BGR2GRAY)
FILTERS = [
    Filter("clahe", (2, 8)),
    Filter("equalise"),
    Filter("gamma", (0.5,)),
    Filter("median", (3,)),
    Filter("gaussian", (1.5,)),
    Filter("bilateral", (5, 25, 2)),
    Filter("nlm", (3,)),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=[f.kind for f in FILTERS])
@pytest.mark.parametrize("image", [COLOUR, GRAY], ids=["colour", "gray"])
def test_a_filter_changes_pixels_and_neither_shape_nor_input(wanted: Filter, image: np.ndarray) -> None:
    before = image.copy()
    done = make_filter(wanted)(image)
    assert (done.shape, done.dtype) == (image.shape, np.uint8)
    assert not np.array_equal(done, image)
    assert np.array_equal(image, before)
    assert np.array_equal(make_filter(wanted)(image), done)


@pytest.mark.parametrize("wanted", FILTERS, ids=[f.kind for f in FILTERS])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (2, 40, 3), (40, 3)], ids=str)
def test_a_filter_takes_pictures_smaller_than_its_window(wanted: Filter, shape: tuple[int, ...]) -> None:
    assert make_filter(wanted)(np.full(shape, 90, np.uint8)).shape == shape


def dull() -> np.ndarray:
    """A ramp from 100 to 140, grey."""
    return np.repeat(np.linspace(100, 140, 128).round().astype(np.uint8)[None], 128, axis=0)


@pytest.mark.parametrize(
    ("wanted", "low", "high"),
    [(Filter("equalise"), 0, 255), (Filter("gamma", (0.5,)), 160, 189), (Filter("gamma", (1,)), 100, 140)],
    ids=["equalise", "gamma 0.5", "gamma 1"],
)
def test_contrast_maps_greys_as_the_textbook_says(wanted: Filter, low: int, high: int) -> None:
    done = make_filter(wanted)(dull())
    assert (done.min(), done.max()) == (low, high)


def test_clahe_raises_contrast_up_to_its_limit() -> None:
    spread = [np.ptp(make_filter(Filter("clahe", (limit, 1)))(dull())) for limit in (1, 2, 4)]
    assert spread[0] < spread[1] < spread[2]
    assert np.ptp(dull()) < spread[1] < 120


@pytest.mark.parametrize("wanted", [Filter("equalise"), Filter("clahe", (3, 4))], ids=["equalise", "clahe"])
def test_equalising_changes_luma_and_leaves_hues(wanted: Filter) -> None:
    muted = (90 + COLOUR.astype(int) // 8).astype(np.uint8)
    done = make_filter(wanted)(muted)
    before, after = (cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb).astype(int) for image in (muted, done))
    assert np.ptp(after[:, :, 0]) > 2 * np.ptp(before[:, :, 0])
    inside = (done > 0).all(axis=2) & (done < 255).all(axis=2)  # what is cut off at black and white changes its hue
    assert np.abs(after - before)[inside][:, 1:].max() <= 2
    luma = make_filter(wanted)(np.ascontiguousarray(before[:, :, 0].astype(np.uint8)))
    assert np.abs(after[:, :, 0] - luma)[inside].max() <= 1


@pytest.mark.parametrize(
    ("wanted", "at_most"),
    [
        (Filter("median", (5,)), 3),
        (Filter("gaussian", (1.5,)), 5),
        (Filter("bilateral", (9, 80, 3)), 5),
        (Filter("nlm", (12,)), 5),
    ],
    ids=["median", "gaussian", "bilateral", "nlm"],
)
def test_denoising_brings_a_noisy_picture_nearer_to_the_clean_one(wanted: Filter, at_most: float) -> None:
    clean = np.full((64, 96, 3), 60, np.uint8)
    clean[:, 48:] = 180
    noise = np.random.default_rng(3).normal(0, 12, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).astype(np.uint8)
    error = np.abs(make_filter(wanted)(noisy).astype(int) - clean).mean()
    assert np.abs(noisy.astype(int) - clean).mean() > 9
    assert error < at_most


def test_specks_go_by_median_and_edges_stay_by_bilateral() -> None:
    specks = np.full((20, 20), 50, np.uint8)
    specks[5, 5] = specks[12, 9] = 255
    assert (make_filter(Filter("median", (3,)))(specks) == 50).all()
    step = np.full((20, 20), 50, np.uint8)
    step[:, 10:] = 200
    assert np.array_equal(make_filter(Filter("bilateral", (9, 20, 5)))(step), step)


@pytest.mark.parametrize(
    ("format", "red", "white"),
    [
        ("bgr24", [0, 0, 255], [255, 255, 255]),
        ("rgb24", [255, 0, 0], [255, 255, 255]),
        ("hsv", [0, 255, 255], [0, 0, 255]),
        ("lab", [136, 208, 195], [255, 128, 128]),
        ("ycrcb", [76, 255, 85], [255, 128, 128]),
    ],
)
def test_colour_spaces_have_opencvs_8_bit_values(format: str, red: list[int], white: list[int]) -> None:
    image = np.array([[[0, 0, 255], [255, 255, 255]]], np.uint8)
    assert to_format(image, format).tolist() == [[red, white]]


@pytest.mark.parametrize("image", [COLOUR, GRAY], ids=["colour", "gray"])
def test_straightening_at_full_size_is_opencvs_undistort(image: np.ndarray) -> None:
    lens = Lens(fx=120, fy=118, cx=80.5, cy=47, coefficients=(-0.25, 0.05, 0.001, 0.002, 0))
    camera = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    whole = (0, 0, 160, 96)
    done = Straightener(lens, shown=whole, size=(160, 96), recorded=whole, recorded_size=(160, 96), pad=0)(image)
    assert np.array_equal(done, cv2.undistort(image, camera, np.array(lens.coefficients)))
