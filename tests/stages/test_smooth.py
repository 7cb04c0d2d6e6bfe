from __future__ import annotations

from dataclasses import replace

import numpy as np

from cvpipe.results import FrameRecord, Objects
from tests.sequences import line, run, same_wherever_cut, scene

SMOOTH = {"type": "smooth", "name": "smooth", "of": "people"}


def centres(records: list[FrameRecord]) -> np.ndarray:
    return np.array([(r.objects.box[0, 0] + r.objects.box[0, 2]) / 2 for r in records])


def trembling(seed: int = 1, speed: float = 0) -> list[FrameRecord]:
    rng = np.random.default_rng(seed)
    records = scene({1: line((100, 200), (100 + 8 * speed, 200), stop=8)}, seconds=8, fps=20)
    return [
        replace(
            r, objects=replace(r.objects, box=(r.objects.box + rng.normal(0, 3, (1, 4))).round(2).astype(np.float32))
        )
        for r in records
    ]


def test_what_stands_still_trembles_a_third_as_much() -> None:
    records = trembling()
    smooth = list(same_wherever_cut(records, SMOOTH).records)
    assert np.std(centres(smooth)[20:]) < np.std(centres(records)[20:]) / 3 * 1.3
    assert abs(np.mean(centres(smooth)[20:]) - 100) < 0.6


def test_what_moves_is_followed_with_little_lag() -> None:
    lag = centres(trembling(speed=200)) - centres(list(run(trembling(speed=200), {**SMOOTH, "beta": 0.05}).records))
    lazy = centres(trembling(speed=200)) - centres(list(run(trembling(speed=200), {**SMOOTH, "beta": 0}).records))
    assert np.mean(lag[40:]) < 5
    assert np.mean(lazy[40:]) > 25


def test_the_filter_is_the_one_euro_filter_of_its_paper() -> None:
    """The second sample, reckoned by hand: 0.1 s later, 10 px further on."""
    records = scene({1: line((100, 200), (110, 200), stop=0.1)}, seconds=0.1)
    found = run(records, {**SMOOTH, "min_cutoff": 1, "beta": 0.1, "derivative_cutoff": 1}).records
    weight = lambda cutoff: 1 / (1 + 1 / (2 * np.pi * cutoff * 0.1))  # noqa: E731 - the paper's alpha
    speed = weight(1.0) * 100
    assert found[0].objects == records[0].objects
    assert centres(list(found))[1] == np.float32(round(100 + weight(1 + 0.1 * speed) * 10, 2))


def test_keypoints_are_smoothed_and_keep_their_scores() -> None:
    points = [np.array([[100 + 10 * n, 50, 0.5 + 0.1 * n]], np.float32) for n in range(3)]
    records = [
        FrameRecord(
            n, n, n / 10,
            objects=Objects.make(
                stage="people", box=[[90, 40, 110, 80]], score=[0.9], label=["person"], track=[1], keypoints=[points[n]]
            ),
        )
        for n in range(3)
    ]  # fmt: skip
    found = [r.objects.keypoints[0] for r in same_wherever_cut(records, SMOOTH).records]
    assert [row[0, 2] for row in found if row is not None] == [np.float32(0.5), np.float32(0.6), np.float32(0.7)]
    assert found[2] is not None
    assert 100 < found[2][0, 0] < 120


def test_untracked_objects_and_others_stay_as_they_are() -> None:
    records = scene({-1: line((100, 200), (300, 200), stop=2)}, seconds=2)
    assert [r.objects for r in run(records, SMOOTH).records] == [r.objects for r in records]
    others = scene({1: line((100, 200), (300, 200), stop=2)}, seconds=2, stage="cars")
    assert [r.objects for r in run(others, SMOOTH).records] == [r.objects for r in others]
