"""`keyframes`: which frames are kept, and what of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.frames import View
from cvpipe.results import FrameRecord
from cvpipe.stages.keyframes import KeyframesOptions
from tests.stages.looking import open_stage, show


def test_the_first_frame_of_each_scene_is_wanted() -> None:
    stage = open_stage("keyframes")
    said = [{"cut": False, "score": None}, {"cut": False, "score": 3}, {"cut": True, "score": 60}, None]
    records = [
        FrameRecord(n, n, n / 25, values={} if value is None else {"scenes": value}) for n, value in enumerate(said)
    ]
    assert [stage.wants(record, record.time - 0.04) for record in records] == [True, False, True, False]
    assert stage.boundaries() == ("scenes",)


def test_the_first_frame_of_each_span_is_wanted() -> None:
    stage = open_stage("keyframes", per="interval", every_seconds=0.5)
    times = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    wanted = [stage.wants(FrameRecord(0, 0, t), b) for t, b in zip(times, [None, *times], strict=False)]
    assert wanted == [True, False, False, True, False, True]
    assert stage.boundaries() == ()


def test_a_picture_is_the_frame_as_it_was_made_no_larger_than_asked_for() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (36, 64, 3)).astype(np.uint8)
    (found,) = show(open_stage("keyframes", max_side=64), [picture], view=View.of(640, 360), first=7)
    assert np.array_equal(found.map, picture)
    contrast = (picture @ np.array([0.114, 0.587, 0.299])).std()
    assert found.values["keyframes"] == {
        "file": "keyframes-000007.png",
        "contrast": pytest.approx(contrast, abs=0.01),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"per": "interval"}, "`per: interval` and `every_seconds` go together"),
        ({"every_seconds": 5}, "`per: interval` and `every_seconds` go together"),
        ({"per": "interval", "every_seconds": 5, "scenes": "cuts"}, "`scenes` goes with `per: scene`"),
    ],
)
def test_a_rhythm_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        KeyframesOptions.model_validate(options)
