"""`constant_rate`: each tick of an even clock shows the last frame that has begun."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.frames import Timeline
from cvpipe.stages.constant_rate import ConstantRate, ConstantRateOptions


def make_timeline(times: Any, end: float) -> Timeline:
    time = np.asarray(times, np.float64).round(6)
    yes = np.ones(len(time), np.bool_)
    return Timeline(np.arange(len(time)), time, yes, yes, np.append(time[1:], round(end, 6)))


def make_stage(fps: float) -> ConstantRate:
    return ConstantRate(ConstantRateOptions(fps=fps))


@pytest.mark.parametrize(
    ("times", "end", "fps", "shown"),
    [
        pytest.param([0, 0.1, 0.2], 0.3, 10, {0: (0, 1), 1: (1, 1), 2: (2, 1)}, id="its own rate"),
        pytest.param([0, 0.1, 0.2], 0.3, 20, {0: (0, 2), 1: (2, 2), 2: (4, 2)}, id="twice its rate"),
        pytest.param([0, 0.1, 0.2, 0.3], 0.4, 5, {0: (0, 1), 2: (1, 1)}, id="half its rate"),
        pytest.param([0, 0.05, 0.5], 0.6, 10, {0: (0, 1), 1: (1, 4), 2: (5, 1)}, id="a long pause"),
        pytest.param([0, 0.11, 0.12, 0.13], 0.2, 10, {0: (0, 2)}, id="frames between two ticks"),
        pytest.param([0], 0, 25, {0: (0, 1)}, id="one frame of no length"),
        pytest.param([2.01, 2.05], 2.2, 10, {1: (21, 1)}, id="a part that begins later"),
    ],
)
def test_each_tick_shows_the_last_frame_that_has_begun(
    times: list[float], end: float, fps: float, shown: dict[int, tuple[int, int]]
) -> None:
    stage, frames = make_stage(fps), make_timeline(times, end)
    values = stage.values(frames)
    assert {n: (v["first_tick"], v["ticks"]) for n, v in values.items()} == shown
    assert np.flatnonzero(stage.select(frames)).tolist() == list(shown)
    with pytest.raises(KeyError):
        values[99]


def test_what_is_repeated_and_dropped_is_counted() -> None:
    frames = make_timeline([0, 0.05, 0.5], 0.6)
    assert make_stage(10).summary(frames) == {"ticks": 6, "frames": 3, "repeated": 3, "dropped": 0}
    assert make_stage(2).summary(frames) == {"ticks": 2, "frames": 2, "repeated": 0, "dropped": 1}


@pytest.mark.parametrize("rate", [23.976, 24, 25, 29.97, 30, 50, 59.94, 60])
def test_times_rounded_to_microseconds_shift_no_tick(rate: float) -> None:
    count = 1000
    frames = make_timeline(np.arange(count) / rate, count / rate)
    assert make_stage(rate).summary(frames) == {"ticks": count, "frames": count, "repeated": 0, "dropped": 0}


@given(
    milliseconds=st.lists(st.integers(0, 5000), min_size=1, max_size=60, unique=True).map(sorted),
    fps=st.sampled_from([1, 5, 12.5, 25, 40, 100]),
)
def test_the_frames_unfold_to_what_a_clock_would_show(milliseconds: list[int], fps: float) -> None:
    values = make_stage(fps).values(make_timeline([ms / 1000 for ms in milliseconds], (milliseconds[-1] + 40) / 1000))
    unfolded = [n for n, v in values.items() for _ in range(v["ticks"])]
    # k / fps seconds against milliseconds, without rounding
    ticks = [k for k in range(int(6 * fps)) if milliseconds[0] * fps <= 1000 * k < (milliseconds[-1] + 40) * fps]
    assert unfolded == [max(n for n, ms in enumerate(milliseconds) if ms * fps <= 1000 * k) for k in ticks]
    if ticks:
        assert next(iter(values.values()))["first_tick"] == ticks[0]
