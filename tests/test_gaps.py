"""Gaps: the parts of a video without results, as people want them listed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cvpipe.gaps import GapFinder, missing
from cvpipe.job import TimeRange
from cvpipe.results import FrameRecord
from tests.test_pipeline import make_index


def test_neighbours_with_one_reason_are_one_gap() -> None:
    finder = GapFinder()
    reasons = [None, "a", "a", "b", None, "b"]
    for n, error in enumerate(reasons):
        status: Any = "ok" if error is None else "decode_error"
        finder.add(FrameRecord(n * 5, n, n / 10, status, error=error))
    assert [(g.first, g.last, g.start, g.stop, g.frames, g.error) for g in finder.gaps] == [
        (5, 10, 0.1, 0.2, 2, "a"), (15, 15, 0.3, 0.3, 1, "b"), (25, 25, 0.5, 0.5, 1, "b"),
    ]  # fmt: skip
    assert finder.frames == 4


@pytest.mark.parametrize(
    ("warning", "expected"),
    [
        pytest.param(
            {"first": 20, "start": 2.1, "frames": 5, "stop": 2.6}, (20, 24, 2.1, 2.6, 5), id="the file says how much"
        ),
        pytest.param(
            {"first": 20, "start": 2.0, "frames": None, "stop": None}, (20, 20, 2.0, 2.0, 0), id="nobody knows how much"
        ),
        pytest.param({}, (20, 20, 2.0, 2.0, 0), id="no more than that it is"),
    ],
)
def test_what_is_cut_off_is_a_gap_of_what_the_file_claims(warning: dict[str, Any], expected: tuple[Any, ...]) -> None:
    whole = make_index(np.arange(20) / 10)
    cut = replace(whole, facts=replace(whole.facts, warnings=[{"code": "media_truncated", **warning}]))
    gap = missing(cut, range(20))
    assert gap is not None
    assert (gap.first, gap.last, gap.start, gap.stop, gap.frames) == expected
    assert (gap.status, gap.error) == ("missing", "media_truncated")
    assert missing(whole, range(20)) is None
    assert missing(cut, range(10)) is None  # the part that is looked at is there
    assert missing(cut, range(20), TimeRange(start=0, stop=2.0)) is None
