"""A seed names what the nemesis does."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from tests.chaos.__main__ import FAULTS
from tests.chaos.nemesis import PAUSE_SECONDS, schedule


def test_a_seed_makes_the_same_schedule_again_and_another_seed_another() -> None:
    for hand in PAUSE_SECONDS:
        first = list(islice(schedule(FAULTS, 7, hand), 50))
        assert list(islice(schedule(FAULTS, 7, hand), 50)) == first
        if first:
            assert list(islice(schedule(FAULTS, 8, hand), 50)) != first


def test_every_fault_comes_and_the_heavy_ones_more_often() -> None:
    counts = Counter(step.fault.kind for hand in PAUSE_SECONDS for step in islice(schedule(FAULTS, 1, hand), 2000))
    assert set(counts) == {fault.kind for fault in FAULTS}
    assert counts["kill worker"] > 2 * counts["kill decoders"]
    assert len({fault.kind for fault in FAULTS}) == len(FAULTS)


def test_a_fault_holds_as_long_as_it_may() -> None:
    for hand in PAUSE_SECONDS:
        for step in islice(schedule(FAULTS, 3, hand), 500):
            least, most = step.fault.hold_seconds
            assert least <= step.hold_seconds <= most
            assert 0 <= step.pause_seconds <= 4 * PAUSE_SECONDS[hand]
