"""Spells: for how long something holds, of whom, and the moment that shows it best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cvpipe.events import Event, Moment


@dataclass(slots=True)
class Spell:
    """An uninterrupted while in which something holds.

    since, last: the first and the last moment. best: the moment of the greatest merit, `rows` who takes part in it and
    `values` what there is to say, both as at that moment.
    """

    since: Moment
    last: Moment
    best: Moment
    merit: float
    rows: tuple[Mapping[str, Any], ...]
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it has been, to the millisecond."""
        return round(self.last.time - self.since.time, 3)

    def event(self, kind: str, stage: str, *, is_over: bool) -> Event:
        """The spell as an event, with its `seconds`."""
        values = {**self.values, "seconds": self.seconds}
        return Event(kind, stage, self.since, self.last, self.best, self.rows, values, is_over)


class Spells:
    """Spells by key. Whatever does not hold for longer than `gap_seconds` is over; what was short is not told.

    Memory: one spell for each key for which something holds.
    """

    def __init__(self, *, least_seconds: float, gap_seconds: float) -> None:
        self._least, self._gap = least_seconds, gap_seconds
        self._spells: dict[str, Spell] = {}

    def hold(
        self,
        key: str,
        now: Moment,
        rows: Sequence[Mapping[str, Any]],
        *,
        merit: float,
        values: Mapping[str, Any] | None = None,
        since: Moment | None = None,
    ) -> Spell:
        """It holds now. since: from when on, where that is longer than it has been told."""
        spell = self._spells.get(key)
        if spell is None:
            spell = self._spells[key] = Spell(since or now, now, now, merit, tuple(rows), values or {})
        spell.last = now
        if merit > spell.merit:
            spell.best, spell.merit, spell.rows, spell.values = now, merit, tuple(rows), values or {}
        return spell

    def over(self, now: Moment) -> list[Spell]:
        """Spells that have ended, and were not short; they are forgotten."""
        ended = [key for key, spell in self._spells.items() if now.time - spell.last.time > self._gap]
        return self._told([self._spells.pop(key) for key in ended])

    def rest(self) -> list[Spell]:
        """What still holds where there are no more records, and was not short; all is forgotten."""
        spells, self._spells = list(self._spells.values()), {}
        return self._told(spells)

    def state(self) -> dict[str, Any]:
        """As MessagePack-able values."""
        return {key: asdict(spell) for key, spell in self._spells.items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from a state that `state` returned."""
        self._spells = {
            key: Spell(
                Moment(*told["since"]), Moment(*told["last"]), Moment(*told["best"]), told["merit"],
                tuple(told["rows"]), told["values"],
            )
            for key, told in state.items()
        }  # fmt: skip

    def _told(self, spells: Sequence[Spell]) -> list[Spell]:
        return [spell for spell in spells if spell.last.time - spell.since.time >= self._least]
