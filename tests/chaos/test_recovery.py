"""Recovery times are told as what so large a share of all is not above."""

from __future__ import annotations

import pytest

from tests.chaos.history import History
from tests.chaos.recovery import percentile
from tests.chaos.report import table
from tests.chaos.run import Outcome


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 10.0), (0.95, 19.0), (1.0, 20.0)], ids=["median", "95 %", "longest"]
)
def test_a_percentile_is_the_smallest_value_that_so_many_are_not_above(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(20, 0, -1)], share) == expected


def test_one_value_is_every_percentile() -> None:
    assert [percentile([3.0], share) for share in (0.5, 0.95, 1.0)] == [3.0, 3.0, 3.0]


def test_the_table_tells_each_kind_and_all() -> None:
    outcome = Outcome(History(), recoveries=[("kill worker", 4.0), ("kill Redis", 1.0), ("kill worker", float("inf"))])
    rows = [" ".join(line.split()) for line in table(outcome)]
    assert "kill worker 2 4.0 s inf s inf s" in rows
    assert "kill Redis 1 1.0 s 1.0 s 1.0 s" in rows
    assert "all 3 4.0 s inf s inf s" in rows
