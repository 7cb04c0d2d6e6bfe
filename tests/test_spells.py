from __future__ import annotations

import msgpack

from cvpipe.events import Moment
from cvpipe.spells import Spells


def at(seconds: float) -> Moment:
    return Moment(round(seconds * 10), seconds)


def test_a_spell_goes_on_over_gaps_and_is_told_with_its_best_moment_once_it_is_over() -> None:
    spells = Spells(least_seconds=1, gap_seconds=1)
    for time, merit in ((0, 1), (0.5, 3), (1.5, 2), (2.0, 3)):
        spells.hold("a", at(time), ({"track": 1},), merit=merit, values={"merit": merit})
        assert spells.over(at(time)) == []
    assert spells.over(at(3.0)) == []
    (spell,) = spells.over(at(3.1))
    assert (spell.since, spell.last, spell.best, spell.values, spell.seconds) == (
        at(0),
        at(2),
        at(0.5),
        {"merit": 3},
        2,
    )
    assert spells.over(at(9)) == spells.rest() == []
    assert spell.event("k", "s", is_over=True).values == {"merit": 3, "seconds": 2}


def test_what_was_short_is_not_told() -> None:
    spells = Spells(least_seconds=1, gap_seconds=0)
    spells.hold("short", at(0), (), merit=0)
    spells.hold("short", at(0.9), (), merit=0)
    spells.hold("long", at(0), (), merit=0)
    spells.hold("long", at(1), (), merit=0)
    assert [spell.seconds for spell in spells.over(at(1.1))] == [1]
    spells.hold("again", at(5), (), merit=0, since=at(3))
    spells.hold("brief", at(5), (), merit=0)
    assert [spell.since for spell in spells.rest()] == [at(3)]


def test_spells_go_on_in_another_process() -> None:
    spells, other = (Spells(least_seconds=0, gap_seconds=0) for _ in range(2))
    spells.hold("a", at(1), ({"track": 1, "box": [1, 2, 3, 4]},), merit=0.5, values={"zone": "x"})
    other.restore(msgpack.unpackb(msgpack.packb(spells.state())))
    assert other.state() == spells.state()
    assert other.rest() == spells.rest() != []
