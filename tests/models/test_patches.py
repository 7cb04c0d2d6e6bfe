"""Patches of a canvas become masks of the source frame."""

from __future__ import annotations

import numpy as np
import pytest

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
