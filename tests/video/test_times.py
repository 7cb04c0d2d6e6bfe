"""Times for frames that have none of their own."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.video.times import complete, usual_step


@pytest.mark.parametrize(
    ("pts", "expected"),
    [
        pytest.param([0, 40, 80, 120], [0, 40, 80, 120], id="all there"),
        pytest.param([0, 40, None, 120, 160], [0, 40, 80, 120, 160], id="one is missing"),
        pytest.param([None, None, 80, 120], [0, 40, 80, 120], id="the first are missing"),
        pytest.param([0, 40, None, None], [0, 40, 80, 120], id="the last are missing"),
        pytest.param([0, 40, None, 130, 160], [0, 40, 85, 130, 160], id="between uneven ones"),
        pytest.param([0, 40, 40, 120, 160], [0, 40, 80, 120, 160], id="one is repeated"),
        pytest.param([0, 0, 80, 80, 160, 160], [0, 40, 80, 120, 160, 200], id="all are repeated"),
        pytest.param([0, 40, 10, 120, 160], [0, 40, 80, 120, 160], id="one goes back"),
        pytest.param([0, 40, 80, 0, 40, 80], [0, 40, 80, 120, 160, 200], id="the clock starts anew"),
        pytest.param([0, 40, 9_000_000, 9_000_040], [0, 40, 80, 120], id="the clock jumps ahead"),
        pytest.param([0, 40, 9_000_000, 120, 160], [0, 40, 80, 120, 160], id="one jumps ahead"),
        pytest.param([0, 40, 2040, 2080], [0, 40, 2040, 2080], id="a pause"),
        pytest.param([0, 1, None, None, 2, 160], [0, 1, 40, 80, 120, 160], id="too little room"),
        pytest.param([7], [7], id="one frame"),
        pytest.param([-80, None, 0], [-80, -40, 0], id="negative"),
    ],
)
def test_times_ascend_and_those_that_fit_are_kept(pts, expected):
    assert complete(pts, 40) == expected


@pytest.mark.parametrize(
    ("pts", "expected"),
    [
        ([0, 40, 80, 81], 40),
        ([0, None, 80, None], 0),
        ([0, 10, 30], 20),
        ([0, 40, None, 120, 160], 40),
        ([5], 0),
        ([9, 9, 8], 0),
    ],
)
def test_the_usual_step_is_the_median_of_frames_that_follow_each_other(pts, expected):
    assert usual_step(pts) == expected
    if None not in pts:
        assert usual_step(np.array(pts, np.int64)) == expected
