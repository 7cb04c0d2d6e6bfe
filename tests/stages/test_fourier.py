"""`fourier` on waves of known period, angle and strength."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.stages.fourier import power_spectrum
from tests.stages.looking import look_at

X, Y = np.meshgrid(np.arange(256), np.arange(128))


def waves(*some: tuple[float, float, float]) -> np.ndarray:
    """Amplitude, cycles per pixel across and down, of each wave around grey."""
    picture = 128 + sum(size * np.cos(2 * np.pi * (fx * X + fy * Y)) for size, fx, fy in some)
    return np.round(picture).astype(np.uint8)


@pytest.mark.parametrize(
    ("fx", "fy", "period", "angle"),
    [
        pytest.param(1 / 16, 0, 16, 0, id="across"),
        pytest.param(0, 1 / 10, 10, 90, id="down, between two places of the spectrum"),
        pytest.param(3 / 64, 4 / 64, 12.8, 53.13, id="slanting"),
        pytest.param(-3 / 64, 4 / 64, 12.8, 126.87, id="slanting the other way"),
        pytest.param(0.25, 0.001, 4, 0.23, id="nearly across"),
    ],
)
def test_a_wave_is_told_with_its_period_and_angle(fx: float, fy: float, period: float, angle: float) -> None:
    (wave,) = look_at("fourier", waves((50, fx, fy))).values["fourier"]["waves"]
    assert wave["period"] == pytest.approx(period, rel=0.002)
    assert (wave["angle"] - angle + 90) % 180 - 90 == pytest.approx(0, abs=0.3)
    assert wave["strength"] == pytest.approx(1, abs=0.01)


def test_strengths_are_shares_of_the_power() -> None:
    found = look_at("fourier", waves((60, 1 / 16, 0), (30, 0, 1 / 8))).values["fourier"]["waves"]
    assert [wave["period"] for wave in found] == [16.0, 8.0]
    assert [wave["strength"] for wave in found] == pytest.approx([0.8, 0.2], abs=0.01)  # 60² to 30²


def test_periods_are_in_source_pixels() -> None:
    view = View.of(512, 128).resized(256, 128, mode="stretch")
    (wave,) = look_at("fourier", waves((50, 3 / 64, 4 / 64)), view=view).values["fourier"]["waves"]
    fx, fy = 3 / 128, 4 / 64  # twice as wide in the source
    assert wave["period"] == pytest.approx(1 / np.hypot(fx, fy), rel=0.002)
    assert wave["angle"] == pytest.approx(np.degrees(np.arctan2(fy, fx)), abs=0.2)


def test_the_power_is_that_of_the_fourier_sum_written_out() -> None:
    picture = np.random.default_rng(5).integers(0, 256, (6, 8)).astype(np.uint8)
    window = np.outer(np.sin(np.pi * np.arange(1, 7) / 7) ** 2, np.sin(np.pi * np.arange(1, 9) / 9) ** 2)
    mean = (picture * window).sum() / window.sum()
    rows, columns = np.mgrid[:6, :8]
    expected = np.array(
        [
            [
                abs(((picture - mean) * window * np.exp(-2j * np.pi * (u * rows / 6 + v * columns / 8))).sum()) ** 2
                for v in range(8)
            ]
            for u in range(6)
        ]
    )
    assert power_spectrum(picture) == pytest.approx(expected / (48 * (window**2).sum()))
    assert power_spectrum(picture).sum() == pytest.approx(
        (((picture - mean) * window) ** 2).mean() / (window**2).mean()
    )


def test_sharpness_falls_with_blur_and_noise_is_flat() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 256)).astype(np.uint8)
    told = [
        look_at("fourier", noise if not sigma else cv2.GaussianBlur(noise, (0, 0), sigma)).values["fourier"]
        for sigma in (0, 1, 3)
    ]
    assert told[0]["slope"] == pytest.approx(0, abs=0.1)
    # All but the disc of a radius of 1/8: 1 - pi / 64 of the plane.
    assert told[0]["sharpness"] == pytest.approx(1 - np.pi / 64, abs=0.01)
    assert told[1]["sharpness"] > 0.5
    assert told[2]["sharpness"] < 0.05


def test_a_plain_picture_says_nothing() -> None:
    value = look_at("fourier", np.full((64, 64), 77, np.uint8)).values["fourier"]
    assert value == {"sharpness": 0.0, "slope": None, "waves": []}
