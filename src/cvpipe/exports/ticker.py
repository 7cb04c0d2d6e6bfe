"""Events as captions: which of them a frame of the annotated video tells of."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from cvpipe.events import Event

SHOWN_SECONDS: Final = 2.0
"""An event is shown from its beginning to so long after its end, that one that takes no time can be read."""
MOST: Final = 6
"""So many at once; the latest to begin go first."""


class Ticker:
    """Tells which events are shown at a time; times ascend.

    Memory: all events of the video, 1 KB each.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._coming = sorted(events, key=lambda event: (event.start.time, event.number), reverse=True)
        self._shown: list[tuple[float, int, Event]] = []

    def at(self, time: float) -> list[Event]:
        """What is shown at a time, the latest to begin first, at most `MOST`."""
        while self._coming and self._coming[-1].start.time <= time:
            event = self._coming.pop()
            heappush(self._shown, (event.end.time + SHOWN_SECONDS, event.number, event))
        while self._shown and self._shown[0][0] <= time:
            heappop(self._shown)
        latest = sorted((event for _, _, event in self._shown), key=lambda event: (-event.start.time, -event.number))
        return latest[:MOST]


def words_for(event: Event) -> str:
    """`line crossed: car 4, gate in`: what happened, to whom, and what else there is to say in texts."""
    who = ", ".join(
        " ".join(str(row[key]) for key in ("label", "track") if row.get(key) is not None) for row in event.objects[:3]
    )
    more = " ".join(str(value) for value in event.values.values() if isinstance(value, str))
    told = ", ".join(part for part in (who, more) if part)
    return event.kind.replace("_", " ") + (f": {told}" if told else "")
