"""`crops`: which objects are chosen, from records whose best ones are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.picks import Pick
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages.crops import Crops, CropsOptions

FRAME = (640, 480)


def make_record(
    frame: int, *tracks: tuple[int, float], fps: float = 10, stage: str = "cars", **more: Any
) -> FrameRecord:
    """A frame with objects of 128 x 128 pixels, so that their merit is half their score: (track, score)."""
    objects = Objects.make(
        stage=stage,
        box=[[10, 10, 138, 138]] * len(tracks),
        score=[score for _, score in tracks],
        label=["car"] * len(tracks),
        track=[track for track, _ in tracks],
        **more,
    )
    return FrameRecord(frame, frame, frame / 10, objects=objects)


def choose(records: list[FrameRecord], **options: Any) -> list[Pick]:
    stage = Crops(CropsOptions.model_validate({"name": "best", "of": "cars", **options}))
    for record in records:
        stage.consider(record, FRAME)
    return stage.picks()


def frames(picks: list[Pick]) -> list[list[int]]:
    return [[shot.record.frame for shot in pick.shots] for pick in picks]


def test_each_span_gives_its_best_frames_and_each_track_its_best_spans() -> None:
    scores = [0.1, 0.2, 0.3, 0.2, 0.1, 0.9, 0.8, 0.7, 0.1, 0.1, 0.4, 0.5, 0.6, 0.1, 0.1]
    picks = choose([make_record(n, (1, score)) for n, score in enumerate(scores)], best=2, tries=2, apart_seconds=0.5)
    assert frames(picks) == [[5, 6], [11, 12]]
    assert [round(shot.merit, 4) for shot in picks[0].shots] == [0.45, 0.4]


def test_tracks_are_chosen_for_by_themselves_and_what_has_none_is_left_out() -> None:
    records = [make_record(0, (1, 0.9), (2, 0.5), (-1, 0.99)), make_record(1, (2, 0.6))]
    picks = choose(records, best=1, tries=1)
    assert frames(picks) == [[0], [1]]
    assert [(p.shots[0].place, int(p.shots[0].record.objects.track[0])) for p in picks] == [(0, 1), (0, 2)]


def test_the_earlier_of_two_equal_ones_is_chosen() -> None:
    picks = choose([make_record(n, (1, 0.5)) for n in range(20)], best=1, tries=1)
    assert frames(picks) == [[0]]


def test_what_is_kept_of_a_long_track_does_not_grow_and_the_best_is_among_it() -> None:
    best = {37: 0.95, 402: 0.99, 777: 0.97}
    records = [make_record(n, (1, best.get(n, 0.3 + n % 7 / 100))) for n in range(1000)]
    stage = Crops(CropsOptions(name="best", of="cars", best=3, tries=1))
    for record in records:
        stage.consider(record, FRAME)
    assert frames(stage.picks()) == [[37], [402], [777]]
    assert len(stage._windows[1]) <= 14


def test_every_takes_all_objects_of_every_nth_frame_that_was_looked_at() -> None:
    records = [make_record(n, (-1, 0.5), (3, 0.4)) for n in range(6)]
    records.insert(1, FrameRecord(100, 100, 0.05, status="decode_error"))
    picks = choose(records, every=3)
    assert [(p.first, p.shots[0].place) for p in picks] == [(0, 0), (0, 1), (3, 0), (3, 1)]


@pytest.mark.parametrize("choice", [{"best": 5}, {"every": 1}], ids=["best", "every"])
def test_of_too_many_those_of_the_best_merit_stay(choice: dict[str, int]) -> None:
    records = [make_record(10 * n, (n, score)) for n, score in enumerate([0.2, 0.9, 0.3, 0.8, 0.1])]
    assert frames(choose(records, max_crops=2, **choice)) == [[10], [30]]


def test_small_ones_other_stages_and_those_when_does_not_hold_are_left_out() -> None:
    assert choose([make_record(0, (1, 0.9))], min_side=129) == []
    assert choose([make_record(0, (1, 0.9), stage="people")]) == []
    assert choose([make_record(0, (1, 0.9))], when="score > 0.9") == []
    assert len(choose([make_record(0, (1, 0.9))], when="score > 0.5 and label == 'car'")) == 1


def test_faces_without_five_points_can_not_be_aligned() -> None:
    five = np.ones((5, 3))
    assert choose([make_record(0, (1, 0.9), keypoints=[np.ones((3, 3))])], align="face") == []
    assert len(choose([make_record(0, (1, 0.9), keypoints=[five])], align="face")) == 1
