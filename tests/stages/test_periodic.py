"""`periodic` on pictures that flicker, or in which something swings, at a known rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cvpipe.frames import Frame, View
from cvpipe.results import Objects
from tests.stages.looking import FPS, open_stage

Draw = Callable[[float], np.ndarray]


def told(draw: Draw, times: np.ndarray, **options: Any) -> list[Any]:
    stage = open_stage("periodic", **options)
    view = stage.view(View.of(48, 36))
    pictures = [np.clip(np.round(draw(time)), 0, 255).astype(np.uint8) for time in times]
    return [
        stage.process([Frame(n, n, float(time), view, picture)], [Objects.none()])[0].values["periodic"]
        for n, (time, picture) in enumerate(zip(times, pictures, strict=True))
    ]


def light(rate: float) -> Draw:
    return lambda time: np.full((36, 48), 120 + 20 * np.sin(2 * np.pi * rate * time))


def pendulum(rate: float) -> Draw:
    def draw(time: float) -> np.ndarray:
        x = np.arange(48)[None, :] - 24 - 12 * np.sin(2 * np.pi * rate * time)
        return np.repeat(100 + 100 * np.exp(-(x**2) / 8), 36, axis=0)

    return draw


EVEN = np.arange(64) / FPS


@pytest.mark.parametrize("rate", [1.0, 3.3, 7.5])
def test_flicker_is_told_with_its_rate_and_size(rate: float) -> None:
    *before, value = told(light(rate), EVEN)
    assert all(v == {"flicker": None, "motion": None} for v in before)
    assert value["flicker"]["frequency"] == pytest.approx(rate, abs=0.05)
    assert value["flicker"]["amplitude"] == pytest.approx(20 / np.sqrt(2), rel=0.06)
    assert value["flicker"]["strength"] > 0.9
    assert value["motion"] == {"frequency": None, "amplitude": pytest.approx(0, abs=0.3), "strength": 0.0}


def test_a_swing_is_motion_and_no_flicker() -> None:
    value = told(pendulum(1.5), EVEN)[-1]
    assert value["motion"]["frequency"] == pytest.approx(1.5, abs=0.1)
    assert value["flicker"]["frequency"] is None


def test_uneven_times_do_not_bend_the_rate() -> None:
    times = np.cumsum(np.where(np.random.default_rng(2).random(80) < 0.3, 2, 1)) / FPS
    value = told(light(2.0), times, frames=80)[-1]
    assert value["flicker"]["frequency"] == pytest.approx(2.0, abs=0.05)


def test_noise_and_a_slow_drift_repeat_nothing() -> None:
    random = np.random.default_rng(5)
    value = told(lambda time: 100 + 10 * time + random.normal(0, 1, (36, 48)), EVEN, min_amplitude=2)[-1]
    assert [value[name]["frequency"] for name in ("flicker", "motion")] == [None, None]


def test_a_frame_says_the_same_wherever_its_chunk_begins() -> None:
    draw, times = pendulum(2.2), np.arange(40) / FPS
    straight = told(draw, times, frames=20)
    for first in (5, 17):
        assert told(draw, times[first:], frames=20)[19:] == straight[first + 19 :]
