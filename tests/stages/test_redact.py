"""`redact`: which parts of which frames are hidden, and that nothing is left in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from cvpipe.engine import SequenceRunner
from cvpipe.pipeline import load_pipeline, plan_segments
from cvpipe.results import FrameRecord, Objects
from cvpipe.settings import Settings
from cvpipe.stages.redact import Redact, RedactOptions

WIDTH, HEIGHT = 160, 120


class Footage:
    """Ten noisy frames; keeps what is painted."""

    part, fps, size = range(10), 10.0, (WIDTH, HEIGHT)

    def __init__(self, records: list[FrameRecord]) -> None:
        self._records = records
        self.times = np.arange(10) / 10
        self.source = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        self.painted: dict[int, np.ndarray] = {}

    def records(self) -> Any:
        return iter(self._records)

    def write_painted(self, path: Path, numbers: Any, times: Any, paint: Callable[[Any, int], None]) -> None:
        assert times.tolist() == pytest.approx((numbers / 10).tolist())
        for number in numbers.tolist():
            picture = self.source.copy()
            paint(picture, number)
            self.painted[number] = picture

    def changed(self, number: int) -> list[int] | None:
        """x1, y1, x2, y2 of what is not as it was; None: nothing."""
        rows, columns = np.nonzero((self.painted[number] != self.source).any(axis=2))
        return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None


def make_record(
    frame: int, *boxes: list[float], track: int = -1, label: str = "face", score: float = 0.9, **more: Any
) -> FrameRecord:
    objects = Objects.make(
        stage="faces", box=boxes, score=[score] * len(boxes), label=[label] * len(boxes), track=[track] * len(boxes)
    )
    return FrameRecord(frame, frame, frame / 10, objects=objects, **more)


def redact(records: list[FrameRecord], tmp_path: Path, **options: Any) -> Footage:
    stage = Redact(RedactOptions.model_validate({"name": "redact", "of": ["faces"], "grow": 1, **options}))
    stage.open(SimpleNamespace(cv2=cv2))  # type: ignore[arg-type]
    footage = Footage(records)
    stage.make(footage, tmp_path)
    return footage


def test_an_object_is_hidden_where_it_is_and_nothing_else(tmp_path: Path) -> None:
    footage = redact([make_record(n, [20, 30, 60, 70]) for n in range(10)], tmp_path, method="fill")
    assert [footage.changed(n) for n in (0, 9)] == [[20, 30, 60, 70]] * 2
    assert (footage.painted[5][30:70, 20:60] == 128).all()


def test_a_blur_leaves_four_spots_of_the_longer_side(tmp_path: Path) -> None:
    footage = redact([make_record(n, [20, 30, 80, 60]) for n in range(10)], tmp_path)
    spots = cv2.resize(footage.source[30:60, 20:80], (4, 2), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(spots, (60, 30), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(footage.painted[4][30:60, 20:80], expected)


def test_it_grows_about_its_middle_and_ends_at_the_edge(tmp_path: Path) -> None:
    footage = redact([make_record(n, [0, 40, 20, 60]) for n in range(10)], tmp_path, grow=2, method="fill")
    assert footage.changed(0) == [0, 30, 30, 70]


def test_frames_between_two_that_were_looked_at_hide_what_either_shows_and_the_way_of_a_track(tmp_path: Path) -> None:
    records = [make_record(0, [0, 0, 20, 20], track=1), make_record(6, [80, 40, 100, 60], track=1)]
    footage = redact(records, tmp_path, method="fill")
    assert footage.changed(0) == [0, 0, 20, 20]
    assert footage.changed(3) == [0, 0, 100, 60]
    assert footage.changed(6) == [80, 40, 100, 60]
    assert footage.changed(9) == [80, 40, 100, 60]
    apart = redact([make_record(0, [0, 0, 20, 20]), make_record(6, [80, 40, 100, 60])], tmp_path, method="fill")
    assert (apart.painted[3][45:55, 5:15] == apart.source[45:55, 5:15]).all()
    assert (apart.painted[3][0:20, 0:20] == 128).all()


def test_a_frame_that_was_skipped_counts_as_not_looked_at(tmp_path: Path) -> None:
    skipped = make_record(3, values={"motion_gate": {"skipped": True}})
    footage = redact([make_record(0, [0, 0, 20, 20]), skipped, make_record(9)], tmp_path, method="fill")
    assert footage.changed(3) == [0, 0, 20, 20]
    assert footage.changed(9) is None


@pytest.mark.parametrize(("unseen", "expected"), [("redact", [0, 0, WIDTH, HEIGHT]), ("keep", None)])
def test_a_frame_of_which_nothing_is_known_is_hidden_as_a_whole(tmp_path: Path, unseen: str, expected: Any) -> None:
    records = [make_record(0), make_record(4, status="failed"), make_record(8)]
    footage = redact(records, tmp_path, unseen=unseen, method="fill")
    assert [footage.changed(n) for n in (2, 4, 6)] == [expected] * 3
    assert footage.changed(0) is None
    assert redact([], tmp_path, unseen=unseen, method="fill").changed(5) == expected


def test_only_the_labels_and_stages_asked_for_are_hidden(tmp_path: Path) -> None:
    records = [make_record(n, [20, 30, 60, 70], label="sign") for n in range(10)]
    assert redact(records, tmp_path, labels=["face"]).changed(0) is None
    assert redact(records, tmp_path, of=["plates"]).changed(0) is None


def test_the_pipeline_to_start_from_hides_a_doubtful_face_where_it_is_missed_for_a_moment(tmp_path: Path) -> None:
    spec = load_pipeline("redact", settings=Settings())
    (segment,) = [segment for segment in plan_segments(spec) if segment.kind == "sequence"]
    tracker = SequenceRunner(
        spec, segment, SimpleNamespace(linear_sum_assignment=linear_sum_assignment), size=(WIDTH, HEIGHT)
    )  # type: ignore[arg-type]
    seen = [make_record(n, [20 + n, 30, 60 + n, 70], score=0.45) for n in range(10)]
    seen[4:6] = [make_record(n) for n in (4, 5)]
    footage = redact(list(tracker.run_whole(seen)), tmp_path, method="fill")
    assert [footage.changed(n) for n in range(10)] == [[20 + n, 30, 60 + n, 70] for n in range(10)]
