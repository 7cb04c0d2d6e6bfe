"""Each method on drawn crowds, beside the package `trackers` on the same boxes; and what makes each special."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linear_sum_assignment

from cvpipe.tracking import BotSortTracker, ByteTracker, OcSortTracker, Thresholds
from cvpipe.tracking.overlap import from_corners
from tests.tracking.measures import Measures, measure
from tests.tracking.scenes import Crowd, Look

LIMITS = Thresholds()
Ids = list[npt.NDArray[np.int32]]
TRACKERS: dict[str, Callable[[], ByteTracker]] = {
    "bytetrack": lambda: ByteTracker(LIMITS, linear_sum_assignment),
    "ocsort": lambda: OcSortTracker(LIMITS, linear_sum_assignment),
    "botsort": lambda: BotSortTracker(LIMITS, linear_sum_assignment, alike=0.5),
}
SCENES: dict[str, tuple[Crowd, int]] = {
    "crossing": (Crowd(seconds=6), 1),
    "dense and noisy": (Crowd(targets=24, jitter=0.05, missed=0.12, seconds=4), 1),
    "five frames per second": (Crowd(fps=5, seconds=12), 2),
}


def ours(scene: Sequence[Look], tracker: ByteTracker, *, looks: bool = False, camera: bool = False) -> Ids:
    return [
        tracker.update(
            from_corners(look.box),
            look.score.astype(np.float32),
            np.zeros(len(look.box), np.int64),
            look.time,
            looks=look.looks if looks else None,
            camera=look.camera if camera else None,
        )
        for look in scene
    ]


def theirs(method: str, scene: Sequence[Look], fps: float) -> Ids:
    """The package's tracker, with our scores and hits, its own thresholds of overlap, and real times; no pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its imports warn of is not ours
        supervision, trackers = pytest.importorskip("supervision"), pytest.importorskip("trackers")
        common = {"frame_rate": fps, "high_conf_det_threshold": 0.5, "minimum_consecutive_frames": 2}
        tracker: Any = {
            "bytetrack": lambda: trackers.ByteTrackTracker(track_activation_threshold=0.6, **common),
            "ocsort": lambda: trackers.OCSORTTracker(**common),
            "botsort": lambda: trackers.BoTSORTTracker(track_activation_threshold=0.6, enable_cmc=False, **common),
        }[method]()
    out = []
    for look in scene:
        detections = supervision.Detections(
            xyxy=look.box.astype(np.float32),
            confidence=look.score.astype(np.float32),
            class_id=np.zeros(len(look.box), int),
            data={"place": np.arange(len(look.box))},
        )
        found = tracker.update(detections, timestamp=look.time)
        numbers = np.full(len(look.box), -1, np.int32)
        if len(found):
            numbers[found.data["place"]] = np.where(found.tracker_id >= 0, found.tracker_id + 1, -1)
        out.append(numbers)
    return out


def measured(scenes: Sequence[Sequence[Look]], ids: Sequence[Ids], what: str) -> Measures:
    found = measure(scenes, ids)
    print(f"{what}: HOTA {found.hota:.4f}, IDF1 {found.idf1:.4f}, MOTA {found.mota:.4f}, {found.switches} switches")
    return found


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("method", TRACKERS)
def test_each_method_is_at_least_as_good_as_that_of_the_package_trackers(method: str, name: str) -> None:
    crowd, seeds = SCENES[name]
    scenes = [crowd.draw(seed) for seed in range(seeds)]
    mine = measured(scenes, [ours(scene, TRACKERS[method]()) for scene in scenes], f"{method}, {name}")
    other = measured(scenes, [theirs(method, scene, crowd.fps) for scene in scenes], "trackers")
    assert_at_least_equal(mine, other)


def assert_at_least_equal(mine: Measures, other: Measures) -> None:
    assert mine.hota >= other.hota
    assert mine.idf1 >= other.idf1
    assert mine.mota >= other.mota


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(fps=5, seconds=12), id="five frames per second"),
        pytest.param(Crowd(seconds=5, targets=10, shake=400), id="a camera that shakes"),
    ],
)
def test_botsort_with_looks_and_the_camera_s_motion_is_at_least_as_good_too(crowd: Crowd) -> None:
    scenes = [crowd.draw(3)]
    full = [ours(scene, TRACKERS["botsort"](), looks=True, camera=True) for scene in scenes]
    mine = measured(scenes, full, "botsort, by looks and camera")
    other = measured(scenes, [theirs("botsort", scene, crowd.fps) for scene in scenes], "trackers")
    assert_at_least_equal(mine, other)


def test_the_measures_are_1_for_perfect_numbers_and_tell_a_swap() -> None:
    box = np.array([[0, 0, 10, 20], [50, 0, 60, 20.0]])
    looks = [Look(n / 30, box, np.ones(2), np.array([0, 1]), 2, ids=np.array([0, 1]), true_box=box) for n in range(4)]
    right, swapped = np.array([1, 2], np.int32), np.array([2, 1], np.int32)
    assert measure([looks], [[right] * 4]) == Measures(1.0, 1.0, 1.0, 0)
    # 3 of 4 boxes of each track are right. AssA of a box: 3/5 for 6 of the 8, 1/7 for 2; HOTA is the root of the mean.
    found = measure([looks], [[right, right, right, swapped]])
    assert found == Measures(pytest.approx(((6 * 3 / 5 + 2 * 1 / 7) / 8) ** 0.5), 0.75, 0.75, 2)


@pytest.mark.parametrize("method", TRACKERS)
def test_a_camera_whose_motion_is_known_makes_no_difference(method: str) -> None:
    still, shaken = (Crowd(seconds=5, targets=10, shake=shake).draw(3) for shake in (0, 400))
    wanted = ours(still, TRACKERS[method]())
    for one, other in zip(ours(shaken, TRACKERS[method](), camera=True), wanted, strict=True):
        assert one.tolist() == other.tolist()
    lost = measured([shaken], [ours(shaken, TRACKERS[method]())], f"{method}, shaken")
    assert lost.idf1 < measure([still], [wanted]).idf1 - 0.05


def test_looks_help_where_places_are_in_doubt() -> None:
    crowd = Crowd(fps=5, seconds=12)
    scenes = [crowd.draw(seed) for seed in range(3)]
    blind = measured(scenes, [ours(scene, TRACKERS["botsort"]()) for scene in scenes], "by place")
    seeing = measured(scenes, [ours(scene, TRACKERS["botsort"](), looks=True) for scene in scenes], "by looks too")
    assert seeing.hota > blind.hota + 0.01
    assert seeing.idf1 > blind.idf1 + 0.01


def follow(tracker: ByteTracker, frames: Sequence[Sequence[Sequence[float]]], *, fps: float = 30) -> list[list[int]]:
    out = []
    for number, boxes in enumerate(frames):
        box = from_corners(np.array(boxes, float).reshape(-1, 4))
        ids = tracker.update(box, np.full(len(box), 0.9, np.float32), np.zeros(len(box), np.int64), number / fps)
        out.append(ids.tolist())
    return out


def test_what_turned_while_it_was_hidden_is_found_where_it_was_seen_last() -> None:
    """A box goes right, is hidden, and comes back where it went: the filter has gone on without it."""
    path = [[100 + 12 * n, 100, 140 + 12 * n, 180] for n in range(15)]
    frames = [[box] for box in path] + [[]] * 12 + [[path[-1]]]
    assert follow(ByteTracker(Thresholds(reach=0), linear_sum_assignment), frames)[-1] == [-1]
    assert follow(OcSortTracker(Thresholds(reach=0), linear_sum_assignment), frames)[-1] == [1]


def test_a_track_that_is_found_again_goes_on_as_if_it_had_been_seen() -> None:
    """Hidden while it stops: the speed of the filter is that of the way in between, not that of before."""
    path = [[100 + 12 * n, 100, 140 + 12 * n, 180] for n in range(15)]
    tracker = OcSortTracker(Thresholds(reach=0), linear_sum_assignment)
    follow(tracker, [[box] for box in path] + [[]] * 12 + [[path[-1]]])
    velocity = np.array(tracker.state()["states"]).reshape(5, 1, 4)[1, 0, 0]
    plain = ByteTracker(Thresholds(reach=0, match_iou=0), linear_sum_assignment)
    follow(plain, [[box] for box in path])
    assert np.array(plain.state()["states"]).reshape(5, 1, 4)[1, 0, 0] == pytest.approx(360, rel=0.05)
    assert abs(velocity) < 90


def test_of_two_boxes_the_one_that_lies_ahead_is_taken() -> None:
    tracker = OcSortTracker(Thresholds(reach=0), linear_sum_assignment)
    path = [[[100 + 10 * n, 100, 160 + 10 * n, 160]] for n in range(10)]
    assert follow(tracker, path)[-1] == [1]
    at = 100 + 10 * 10
    ahead, behind = [at + 18, 100, at + 78, 160], [at - 14, 100, at + 46, 160]  # which overlaps a little more
    boxes = from_corners(np.array([behind, ahead], float))
    assert tracker.update(boxes, np.full(2, 0.9, np.float32), np.zeros(2, int), 10 / 30).tolist() == [-1, 1]
    plain = ByteTracker(Thresholds(reach=0), linear_sum_assignment)
    follow(plain, path)
    assert plain.update(boxes, np.full(2, 0.9, np.float32), np.zeros(2, int), 10 / 30).tolist() == [1, -1]


def test_boxes_that_look_different_are_no_track_over_a_distance() -> None:
    tracker = BotSortTracker(Thresholds(min_hits=1), linear_sum_assignment, alike=0.5)
    box = from_corners(np.array([[100, 100, 140, 180.0]]))
    red, blue = np.array([[1.0, 0]]), np.array([[0, 1.0]])
    sure, kind = np.array([0.9], np.float32), np.zeros(1, int)
    assert tracker.update(box, sure, kind, 0.0, looks=red).tolist() == [1]
    step = np.array([55.0, 0, 0, 0])
    far = box + step
    assert tracker.update(far, sure, kind, 0.2, looks=blue).tolist() == [2]
    assert tracker.update(far + step, sure, kind, 0.4, looks=np.zeros((1, 2))).tolist() == [2]
