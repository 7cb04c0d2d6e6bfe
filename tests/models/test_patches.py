"""Patches of a canvas become masks of the source frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvpipe.frames import View
from cvpipe.lens import Lens
from cvpipe.models import Patch
from cvpipe.models.activations import logit, sigmoid, softmax
from cvpipe.models.patches import mask_on_source

LETTERBOX = View.of(128, 64).resized(64, 64, mode="letterbox")  # half the size, 16 pixels of padding above


def inside(
    chance: list[list[float]], on: tuple[float, ...], box: tuple[float, ...], view: View = LETTERBOX
) -> np.ndarray:
    patch = Patch(np.array(on, np.float32), np.array(chance, np.float32))
    return mask_on_source(patch, view, np.array(box, np.float64)).pixels()


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    pixels = np.zeros((64, 128), bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


@pytest.mark.parametrize(
    ("chance", "on", "box", "expected"),
    [
        ([[1]], (10, 20, 20, 30), (20, 8, 40, 28), (20, 8, 40, 28)),
        ([[1]], (0, 16, 64, 48), (20.4, 8.4, 39.2, 27.9), (20, 8, 40, 28)),
        ([[1]], (10, 20, 20, 30), (0, 0, 128, 64), (20, 8, 40, 28)),
        ([[1, 0]], (10, 20, 20, 30), (20, 8, 40, 28), (20, 8, 30, 28)),
        ([[1, 0.2]], (0, 16, 64, 48), (0, 0, 128, 64), (0, 0, 72, 64)),
        ([[0], [0], [0], [1]], (10, 20, 20, 28), (20, 8, 40, 24), (20, 20, 40, 24)),
        ([[1]], (50, 10, 70, 60), (100, 0, 128, 64), (100, 0, 128, 64)),
        ([[0.5]], (10, 20, 20, 30), (20, 8, 40, 28), (0, 0, 0, 0)),
        ([[1]], (10, 20, 20, 30), (90, 8, 100, 28), (0, 0, 0, 0)),
        ([[1]], (10, 20, 10, 20), (20, 8, 20, 8), (0, 0, 0, 0)),
    ],
    ids=[
        "the box",
        "cut to the pixels that the box touches",
        "no larger than the patch",
        "the left half",
        "bilinear between the middles of cells",
        "the lowest quarter",
        "cut to the frame",
        "half is not inside",
        "elsewhere",
        "nothing",
    ],
)
def test_a_patch_covers_pixels_of_the_frame(
    chance: list[list[float]], on: tuple[float, ...], box: tuple[float, ...], expected: tuple[int, int, int, int]
) -> None:
    assert (inside(chance, on, box) == rectangle(*expected)).all()


def plain_mask(chance: np.ndarray, on: tuple[float, ...], box: tuple[float, ...], view: View) -> np.ndarray:
    """The chance at the middle of each pixel, pixel by pixel; NaN outside of the patch and the box."""
    rows, columns = chance.shape
    found = np.full((view.source[1], view.source[0]), np.nan)
    for py in range(int(np.floor(box[1])), int(np.ceil(box[3]))):
        for px in range(int(np.floor(box[0])), int(np.ceil(box[2]))):
            x, y = view.from_source(np.array([px + 0.5, py + 0.5])).astype(float)
            u, v = (x - on[0]) / (on[2] - on[0]) * columns, (y - on[1]) / (on[3] - on[1]) * rows
            if 0 <= u < columns and 0 <= v < rows:
                u, v = np.clip(u - 0.5, 0, columns - 1), np.clip(v - 0.5, 0, rows - 1)
                i, j = int(v), int(u)
                k, m = min(i + 1, rows - 1), min(j + 1, columns - 1)
                top = chance[i, j] * (1 - u + j) + chance[i, m] * (u - j)
                bottom = chance[k, j] * (1 - u + j) + chance[k, m] * (u - j)
                found[py, px] = top * (1 - v + i) + bottom * (v - i)
    return found


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_each_pixel_is_as_the_plain_loop_finds_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    chance = random.random(random.integers(1, 9, 2)).astype(np.float32)
    view = View.of(40, 30).resized(32, 32, mode="letterbox")
    first = random.uniform(-5, 25, 2)
    on = (*first, *(first + random.uniform(1, 25, 2)))
    box = (*random.uniform(0, 20, 2), *random.uniform(20, (40, 30)))
    wanted = plain_mask(chance, on, box, view)
    found = inside(chance.tolist(), on, box, view)
    clear = ~(np.abs(wanted - 0.5) < 1e-4)  # at 0.5 the last digit decides
    assert (found == (wanted > 0.5))[clear].all()


def test_under_a_lens_a_mask_is_bent_as_the_picture_was() -> None:
    straight = View.of(640, 480)
    lens = Lens(fx=400, fy=400, cx=320, cy=240, coefficients=(-0.3, 0.1, 0, 0, 0))
    bent = View(source=(640, 480), width=640, height=480, content=(0, 0, 640, 480), lens=lens)
    whole = (0, 0, 640, 480)
    chance = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    plain, masked = inside(chance, whole, whole, straight), inside(chance, whole, whole, bent)
    y, x = np.nonzero(masked)
    corners = np.stack((x, y), axis=-1) + 0.5
    back = np.floor(bent.from_source(corners)).astype(int)
    assert plain[back[:, 1], back[:, 0]].mean() > 0.995
    assert masked.sum() != plain.sum()
    assert masked.sum() == pytest.approx(plain.sum(), rel=0.15)


def test_logits_of_any_size_become_chances() -> None:
    assert sigmoid(np.array([-1e30, -1, 0, 1, 1e30], np.float32)) == pytest.approx(
        [0, 0.268941, 0.5, 0.731059, 1], abs=1e-6
    )
    assert softmax(np.array([[1e30, 0], [0, np.log(3)]])) == pytest.approx(np.array([[1, 0], [0.25, 0.75]]))
    assert [logit(0.731059), logit(0.5)] == pytest.approx([1, 0], abs=1e-5)
    assert (logit(0), logit(1)) == (-np.inf, np.inf)
