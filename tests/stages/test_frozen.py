"""`frozen` on pictures that stop changing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stages.looking import open_stage, show

NOISE = [np.random.default_rng(n).integers(100, 110, (48, 64)).astype(np.uint8) for n in range(6)]


@pytest.mark.parametrize(
    ("frames", "frozen"),
    [
        pytest.param(1, [False, False, True, True, True, False, True], id="one"),
        pytest.param(3, [False, False, False, False, True, False, False], id="three"),
    ],
)
def test_a_picture_is_frozen_once_enough_frames_are_the_same(frames: int, frozen: list[bool]) -> None:
    pictures = [NOISE[0], NOISE[1], NOISE[1], NOISE[1], NOISE[1], NOISE[2], NOISE[2]]
    values = [f.values["frozen"] for f in show(open_stage("frozen", frames=frames), pictures)]
    assert [value["frozen"] for value in values] == frozen
    assert [value["change"] for value in values[:3]] == [
        None, round(float(np.abs(NOISE[1].astype(int) - NOISE[0]).mean()), 4), 0.0,
    ]  # fmt: skip


def test_noise_is_change_unless_the_level_is_above_it() -> None:
    assert show(open_stage("frozen", frames=2), NOISE)[-1].values["frozen"]["frozen"] is False
    assert show(open_stage("frozen", frames=2, level=5), NOISE)[-1].values["frozen"]["frozen"] is True
