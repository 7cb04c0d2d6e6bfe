"""Crops: the pixels of a box on a canvas, and the way back to the displayed source frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.crops import Crop, label_rows
from cvpipe.frames import View
from cvpipe.lens import Lens
from cvpipe.rle import Mask

FRAME = View.of(400, 300)


def make_picture(view: View = FRAME) -> np.ndarray:
    """Each pixel tells where it is: blue is half its x, green its y (or what fits of them)."""
    picture = np.zeros((view.height, view.width, 3), np.uint8)
    picture[..., 0] = np.arange(view.width) // 2
    picture[..., 1] = np.minimum(np.arange(view.height)[:, None], 255)
    return picture


def crop_of(box: tuple[float, ...], size: tuple[int, int], view: View = FRAME, **options: Any) -> Crop:
    crop = Crop.of(view, box, size, **options)
    assert crop is not None
    return crop


def masks_of(crop: Crop, grid: np.ndarray) -> dict[int, Mask]:
    """The mask of each label; its area is told right."""
    rows = label_rows(crop, grid, [str(i) for i in range(9)], range(len(grid) if grid.ndim == 3 else 9))
    masks = {int(row["label"]): Mask.from_dict(row["mask"]) for row in rows}
    width, height = crop.view.source
    assert [row["area"] for row in rows] == [round(m.area / (width * height), 6) for m in masks.values()]
    assert [row["area"] for row in rows] == sorted((row["area"] for row in rows), reverse=True)
    return masks


@pytest.mark.parametrize(
    ("box", "size", "options", "region", "content"),
    [
        ((100, 50, 200, 250), (64, 64), {"fit": "stretch"}, (100, 50, 100, 200), (0, 0, 64, 64)),
        ((100, 50, 200, 250), (64, 64), {"fit": "letterbox"}, (100, 50, 100, 200), (16, 0, 32, 64)),
        (
            (100, 50, 200, 250),
            (64, 64),
            {"fit": "letterbox", "anchor": "top-left"},
            (100, 50, 100, 200),
            (0, 0, 32, 64),
        ),
        ((100, 50, 200, 250), (64, 64), {"fit": "top-down"}, (50, 50, 200, 200), (0, 0, 64, 64)),
        ((100, 50, 200, 250), (192, 256), {"fit": "top-down", "grow": 1.25}, (56, 25, 188, 250), (0, 0, 192, 256)),
        ((0, 0, 100, 100), (64, 64), {"fit": "top-down", "grow": 2}, (-50, -50, 200, 200), (0, 0, 64, 64)),
        ((10.2, 20.4, 10.6, 20.9), (64, 64), {"fit": "stretch"}, (10, 20, 1, 1), (0, 0, 64, 64)),
    ],
    ids=[
        "stretch",
        "letterbox",
        "letterbox at the top left",
        "top-down",
        "top-down grown",
        "beyond the frame",
        "less than a pixel",
    ],
)
def test_a_box_is_cut_as_the_network_wants_it(
    box: tuple[float, ...], size: tuple[int, int], options: dict[str, Any],
    region: tuple[int, ...], content: tuple[int, ...],
) -> None:  # fmt: skip
    crop = crop_of(box, size, **options)
    assert (crop.region, crop.content) == (region, content)


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "top-down"])
@pytest.mark.parametrize(
    "view",
    [FRAME, FRAME.cropped(40, 30, 300, 200), FRAME.resized(200, 200, mode="letterbox")],
    ids=["plain", "cropped", "letterbox"],
)
def test_a_mark_on_the_frame_is_found_again_through_the_crop(fit: Any, view: View) -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[148:152, 198:202] = 255  # the middle of the mark is at 200, 150
    x, y, width, height = view.content
    left, top, w, h = view.region
    seen = np.full(view.shape, view.pad, np.uint8)
    seen[y : y + height, x : x + width] = cv2.resize(
        picture[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_AREA
    )
    crop = crop_of((151, 101, 241, 231), (96, 128), view, fit=fit, grow=1.25)
    bright = crop.pixels(seen, cv2, pad=0)[..., 0].astype(float)
    bright[bright < 120] = 0
    ys, xs = np.mgrid[:128, :96] + 0.5
    found = np.array([(xs * bright).sum(), (ys * bright).sum()]) / bright.sum()
    assert crop.to_source(found) == pytest.approx([200, 150], abs=0.6)
    assert crop.from_source(np.array([200.0, 150.0])) == pytest.approx(found, abs=0.6)


def test_what_lies_beyond_the_frame_is_padding_and_the_rest_is_unchanged() -> None:
    crop = crop_of((0, 0, 40, 40), (80, 80), fit="top-down", grow=2)
    pixels = crop.pixels(make_picture(), cv2, pad=7)
    assert crop.region == (-20, -20, 80, 80)
    assert (pixels[:20] == 7).all()
    assert (pixels[:, :20] == 7).all()
    assert np.array_equal(pixels[20:, 20:], make_picture()[:60, :60])


def test_padding_of_an_earlier_step_is_no_part_of_the_frame() -> None:
    view = FRAME.resized(400, 400, mode="letterbox")
    seen = np.full(view.shape, 114, np.uint8)
    seen[50:350] = make_picture()
    pixels = crop_of((0, 0, 400, 300), (400, 400), view, fit="top-down").pixels(seen, cv2, pad=0)
    assert (pixels[:50] == 0).all()
    assert np.array_equal(pixels[50:350], make_picture())


def test_shrinking_averages_areas() -> None:
    pixels = crop_of((0, 0, 400, 200), (100, 50), fit="stretch").pixels(make_picture(), cv2, pad=0)
    assert pixels[:3, 0, 1].tolist() == [2, 6, 10]  # rows 0 to 3 are 1.5 on average, 4 to 7 5.5
    assert pixels[0, -1, 0] == 198


@pytest.mark.parametrize("box", [(10, 10, 10, 50), (500, 10, 600, 50), (30, 30, 20, 20)], ids=["line", "off", "wrong"])
def test_a_box_that_shows_nothing_has_no_crop(box: tuple[float, ...]) -> None:
    assert Crop.of(FRAME, box, (64, 64), fit="stretch") is None


def test_a_grid_over_a_letterbox_is_told_in_pixels_of_the_source() -> None:
    view = FRAME.resized(100, 100, mode="letterbox")  # the frame lies in rows 12 to 87
    assert view.content == (0, 12, 100, 75)
    grid = np.zeros((100, 100), np.int64)
    grid[:12] = 2  # only in the padding
    grid[12:50, 25:50] = 1
    masks = masks_of(Crop.whole(view), grid)
    assert sorted(masks) == [0, 1]
    ys, xs = np.nonzero(masks[1].pixels())
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (100, 199, 0, 151)
    assert masks[1].area == 100 * 152
    assert masks[0].area + masks[1].area == 120000


def test_masks_of_a_part_of_the_frame_stay_in_it() -> None:
    view = FRAME.cropped(100, 50, 200, 100).resized(50, 25, mode="stretch")
    (mask,) = masks_of(Crop.whole(view), np.ones((5, 10), np.int64)).values()
    ys, xs = np.nonzero(mask.pixels())
    assert (xs.min(), xs.max(), ys.min(), ys.max(), mask.area) == (100, 299, 50, 149, 20000)


@pytest.mark.parametrize("shape", [(7, 9), (97, 61), (600, 700)], ids=["coarse", "fine", "finer than the frame"])
@pytest.mark.parametrize(
    "crop",
    [
        Crop.whole(FRAME),
        Crop.whole(FRAME.resized(97, 97, mode="letterbox")),
        Crop.whole(FRAME.cropped(41, 33, 131, 77).resized(64, 64, mode="letterbox", anchor="top-left")),
        crop_of((-20, 30.5, 133.3, 260), (64, 96), fit="top-down", grow=1.3),
        crop_of((310, 10, 420, 90), (50, 50), fit="letterbox"),
    ],
    ids=["frame", "letterbox", "part of the frame", "crop", "crop at the edge"],
)
def test_masks_of_labels_are_those_of_their_pixels(crop: Crop, shape: tuple[int, int]) -> None:
    grid = np.random.default_rng(3).integers(0, 9, shape)
    found, shown, part = crop.on_source(grid)
    expected = {label: crop.mask((found == label) & shown, part) for label in range(9)}
    assert masks_of(crop, grid) == {label: mask for label, mask in expected.items() if mask.area}


def test_chances_are_bilinear_between_cells() -> None:
    chances = np.zeros((2, 1, 4), np.float32)
    chances[0, 0] = [0, 0, 1, 1]  # half way between the middles of the second and third of four cells is 200
    (mask,) = masks_of(Crop.whole(FRAME), chances).values()
    assert np.nonzero(mask.pixels().all(axis=0))[0].tolist() == list(range(200, 400))
    values, shown, part = Crop.whole(FRAME).on_source(chances[0])
    assert values[0, [0, 149, 200, 250, 399]].tolist() == pytest.approx([0, 0, 0.505, 1, 1], abs=1e-6)
    assert (shown.all(), part) == (True, (0, 0, 400, 300))


def test_a_crop_of_an_object_beyond_the_frame_has_its_mask_on_the_frame() -> None:
    crop = crop_of((0, 0, 100, 100), (64, 64), fit="top-down", grow=2)
    (mask,) = masks_of(crop, np.full((32, 32), 4, np.int64)).values()
    ys, xs = np.nonzero(mask.pixels())
    assert (xs.max(), ys.max(), mask.area) == (149, 149, 150 * 150)


def test_under_a_lens_masks_are_of_the_frame_as_recorded() -> None:
    lens = Lens(300, 300, 200, 150, (-0.3, 0.1, 0, 0, 0))
    view = View(source=(400, 300), width=400, height=300, content=(0, 0, 400, 300), lens=lens)
    grid = np.zeros((300, 400), np.int64)
    grid[100:200, 120:240] = 1
    mask = masks_of(Crop.whole(view), grid)[1].pixels()
    inside = np.array([[121.0, 101], [239, 199], [180, 150]])
    outside = np.array([[118.0, 101], [242, 199], [180, 98], [180, 203]])
    for points, expected in ((inside, True), (outside, False)):
        for x, y in view.to_source(points):
            assert mask[int(y), int(x)] == expected
    smooth, _, _ = Crop.whole(view).on_source(grid.astype(np.float32))
    assert abs(int((smooth > 0.5).sum()) - int(mask.sum())) < 300
