"""`quality` on pictures whose focus, exposure and noise are known, and on colour bars."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from tests.stages.looking import look_at


def measure(picture: np.ndarray, **options: Any) -> dict[str, Any]:
    value: dict[str, Any] = look_at("quality", picture, **options).values["quality"]
    return value


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(np.round(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def checks(size: int = 8) -> np.ndarray:
    y, x = np.mgrid[:96, :128]
    return 60 + 120 * ((x // size + y // size) % 2)


def test_focus_is_the_variance_of_the_laplacian_and_falls_with_blur() -> None:
    values = checks().astype(np.int64)
    padded = np.pad(values, 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * values
    sharp = measure(grey(values))
    assert sharp["focus"] == pytest.approx(laplacian.var(), abs=0.001)
    assert sharp["blurred"] is False
    blurred = measure(cv2.GaussianBlur(grey(values), (0, 0), 4))
    assert blurred["focus"] < sharp["focus"] / 100
    assert blurred["blurred"] is True


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_noise_is_told_in_grey_levels(sigma: float) -> None:
    ramp = np.tile(np.linspace(60, 190, 320), (240, 1))
    noisy = ramp + np.random.default_rng(7).normal(0, sigma, ramp.shape)
    assert measure(grey(noisy))["noise"] == pytest.approx(sigma, rel=0.05)
    assert measure(grey(ramp))["noise"] < 0.5


def test_exposure_is_told_by_mean_deviation_and_shares() -> None:
    picture = np.full((100, 100), 120)
    picture[:10], picture[10:30] = 5, 250
    told = measure(grey(picture))
    assert (told["dark_share"], told["bright_share"]) == (0.1, 0.2)
    assert told["brightness"] == pytest.approx(picture.mean())
    assert told["contrast"] == pytest.approx(picture.std(), abs=0.001)
    assert [measure(grey(np.full((40, 40), level)))["too_dark"] for level in (30, 50)] == [True, False]
    assert [measure(grey(np.full((40, 40), level)))["too_bright"] for level in (210, 220)] == [False, True]


def test_a_frame_is_black_also_with_a_few_bright_pixels() -> None:
    picture = np.full((100, 100), 10)
    assert measure(grey(picture))["black"] is True
    picture[:1, :90] = 255  # a channel's logo
    assert measure(grey(picture))["black"] is True
    picture[:5] = 255
    assert measure(grey(picture))["black"] is False


def bars(level: int, count: int) -> np.ndarray:
    """BGR: colour bars in the upper two thirds, a grey field below."""
    rgb = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)][:count]
    edges = np.linspace(0, 320, count + 1).round().astype(int)
    picture = np.full((180, 320, 3), 90, np.uint8)
    for n, colour in enumerate(rgb):
        picture[:120, edges[n] : edges[n + 1]] = np.array(colour[::-1]) * level
    return picture


@pytest.mark.parametrize(("level", "count"), [(191, 7), (255, 8), (191, 8)])
def test_colour_bars_are_known_also_with_noise(level: int, count: int) -> None:
    noise = np.random.default_rng(8).integers(-5, 6, (180, 320, 3))
    assert measure(np.clip(bars(level, count) + noise, 0, 255).astype(np.uint8))["colour_bars"] is True


def test_what_looks_a_little_like_bars_is_none() -> None:
    assert measure(bars(191, 7)[:, ::-1].copy())["colour_bars"] is False  # the wrong way round
    assert measure(grey(checks()))["colour_bars"] is False
    picture = bars(191, 7)
    cv2.circle(picture, (160, 50), 30, (0, 0, 0), -1)
    assert measure(picture)["colour_bars"] is False
