"""Background models beside OpenCV's, on a real scene; and handed on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.backgrounds import BACKGROUND, FOREGROUND, SHADOW, BackgroundModel, Mixture, Neighbours
from cvpipe.frames import View
from cvpipe.video import Decoders

SHOWN = np.array([0, 127, 255], np.uint8)  # as OpenCV marks background, shadow and foreground


@pytest.fixture(scope="module")
def pictures(assets: Path) -> list[np.ndarray]:
    """A parking lot on a small picture: nothing for 50 frames, then a car that passes, and its shadow."""
    video = assets / "videos" / "car-detection.mp4"
    with Decoders() as decoders:
        index = decoders.index(video)
        with decoders.read(video, index, np.arange(100), [View.of(768, 432).resized(160, 90)]) as decoded:
            read = []
            for item in decoded:
                assert item.images is not None
                read.append(item.images[0].copy())
                item.release()
    return read


def kinds(model: BackgroundModel, pictures: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([model.apply(picture.reshape(-1, 3)).reshape(picture.shape[:2]) for picture in pictures])


def test_the_mixture_says_what_opencvs_mog2_says_of_each_pixel(pictures: list[np.ndarray]) -> None:
    theirs = cv2.createBackgroundSubtractorMOG2(200, 16, True)
    expected = np.stack([theirs.apply(picture) for picture in pictures])
    model = Mixture(history=200, threshold=16)
    found = SHOWN[kinds(model, pictures)]
    assert (found != expected).mean() < 1e-5
    assert {0, 127, 255} == set(np.unique(found[60:]))
    off = model.background().reshape(90, 160, 3).astype(int) - theirs.getBackgroundImage()
    assert np.abs(off).mean() < 0.01


def test_neighbours_agree_with_opencvs_knn_but_for_the_lot(pictures: list[np.ndarray]) -> None:
    theirs = cv2.createBackgroundSubtractorKNN(200, 400, True)
    expected = np.stack([theirs.apply(picture) for picture in pictures])
    found = SHOWN[kinds(Neighbours(history=200, threshold=400), pictures)]
    assert (found[10:] != expected[10:]).mean() < 0.01
    moving, theirs_moving = found[60:] == 255, expected[60:] == 255
    assert (moving & theirs_moving).sum() / (moving | theirs_moving).sum() > 0.95


MODELS: list[Any] = [pytest.param(Mixture, 16, id="mixture"), pytest.param(Neighbours, 400, id="neighbours")]


@pytest.mark.parametrize(("model", "threshold"), MODELS)
def test_a_model_that_is_handed_on_after_any_picture_says_the_same(
    model: type[Mixture | Neighbours], threshold: float, pictures: list[np.ndarray]
) -> None:
    some = pictures[30:70:2]
    straight = kinds(model(history=50, threshold=threshold), some)
    first: BackgroundModel = model(history=50, threshold=threshold)
    handed = []
    for n, picture in enumerate(some):
        handed.append(kinds(first, [picture])[0])
        if n % 3 == 0:
            second = model(history=50, threshold=threshold)
            second.restore(first.state())
            kinds(first, [pictures[0]])  # what happens to the old one is of no matter
            first = second
    assert np.array_equal(np.stack(handed), straight)


@pytest.mark.parametrize(("model", "threshold"), MODELS)
def test_a_new_thing_is_foreground_its_shadow_is_told_and_what_stays_becomes_background(
    model: type[Mixture | Neighbours], threshold: float
) -> None:
    random = np.random.default_rng(1)

    def scene(thing: bool) -> np.ndarray:
        picture = np.full((40, 60, 3), (120, 140, 160), np.float64)
        if thing:
            picture[10:20, 20:30] = (30, 30, 200)
            picture[20:30, 20:30] *= 0.7
        return np.clip(np.round(picture + random.normal(0, 1.5, picture.shape)), 0, 255).astype(np.uint8)

    of = model(history=40, threshold=threshold)
    before = kinds(of, [scene(False) for _ in range(60)])
    assert (before[30:] != BACKGROUND).mean() < 0.001
    first = kinds(of, [scene(True)])[0]
    assert (first[10:20, 20:30] == FOREGROUND).all()
    assert (first[20:30, 20:30] == SHADOW).mean() > 0.98
    assert (first[:, 40:] == BACKGROUND).mean() > 0.995
    later = kinds(of, [scene(True) for _ in range(150)])[-1]
    assert (later != BACKGROUND).mean() < 0.01
    assert of.background().reshape(40, 60, 3)[15, 25].tolist() == pytest.approx([30, 30, 200], abs=5)
