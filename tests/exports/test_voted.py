"""What tracks say together, in the captions of the annotated video."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvpipe.exports.annotated import caption_of
from cvpipe.exports.voted import Voted
from cvpipe.results import FrameRecord, Objects
from cvpipe.tracks import TrackRecord

AT = {"frame": 0, "time": 0.0}


def make_track(number: int, stage: str = "cars", **values: Any) -> TrackRecord:
    return TrackRecord(stage, number, "car", 0.5, 3, AT, AT, values)


def captions(record: FrameRecord) -> list[str]:
    return [caption_of(record.objects, n) for n in range(len(record.objects))]


def test_each_object_is_captioned_with_what_its_track_says() -> None:
    objects = Objects.make(
        stage="cars", box=np.zeros((4, 4)), score=[0.9] * 4, label=["car"] * 4, track=[1, 2, -1, 3],
        text=[None, "KA 47", "XX", None],
    )  # fmt: skip
    voted = Voted(
        [
            make_track(1, plate={"text": "BV 3975", "confidence": 0.9}, colour={"label": "red", "confidence": 0.7}),
            make_track(2, plate={"text": "KA 4729", "confidence": 0.9}),
            make_track(3, plate={"text": None, "confidence": 0.0}, look={"vector": "", "size": 0, "confidence": 1.0}),
            make_track(3, stage="people", plate={"text": "another", "confidence": 1.0}),
        ]
    )
    record = FrameRecord(0, 0, 0.0, objects=objects)
    drawn = voted.applied(record)
    assert captions(drawn) == ["red car 1: BV 3975", "car 2: KA 4729", "car: XX", "car 3  90%"]
    assert captions(record)[1] == "car 2: KA 47"  # the record itself stays as it is


def test_a_record_of_which_no_track_says_anything_stays_the_same_one() -> None:
    record = FrameRecord(0, 0, 0.0)
    assert Voted([make_track(1)]).applied(record) is record
