"""`decimate`: which frames are left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.frames import Timeline
from cvpipe.stages.decimate import Decimate, DecimateOptions


def left(times: Any, **options: Any) -> list[int]:
    time = np.asarray(times, np.float64)
    number = np.arange(len(time))
    frames = Timeline(number, time, number % 5 == 0, number % 2 == 0)
    return np.flatnonzero(Decimate(DecimateOptions(**options)).select(frames)).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"every": 4}, [0, 4, 8], id="every fourth"),
        pytest.param({"every": 1}, list(range(12)), id="every one"),
        pytest.param({"keep": "keyframes"}, [0, 5, 10], id="keyframes"),
        pytest.param({"keep": "references"}, [0, 2, 4, 6, 8, 10], id="references"),
        pytest.param({"fps": 2.5}, [0, 4, 8], id="by time"),
    ],
)
def test_what_is_left(options: dict[str, Any], expected: list[int]) -> None:
    assert left(np.arange(12) / 10, **options) == expected


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60, 90])
def test_a_video_at_its_own_rate_keeps_all_frames_although_times_are_rounded(rate: int) -> None:
    assert left((np.arange(3000) / rate).round(6), fps=rate) == list(range(3000))


@given(
    times=st.lists(st.integers(0, 60_000_000), min_size=1, max_size=200, unique=True).map(sorted),
    fps=st.floats(0.1, 60),
)
def test_the_first_frame_of_every_interval_is_kept_and_no_other(times: list[int], fps: float) -> None:
    seconds = [time / 1e6 for time in times]
    ticks = [int(np.floor((time + 1e-6) * fps)) for time in seconds]
    assert left(seconds, fps=fps) == [n for n in range(len(times)) if n == 0 or ticks[n] != ticks[n - 1]]
