from __future__ import annotations

from cvpipe.events import Event, Moment
from cvpipe.exports.ticker import MOST, SHOWN_SECONDS, Ticker, words_for


def make_event(number: int, start: float, end: float) -> Event:
    return Event("k", "s", Moment(0, start), Moment(0, end), Moment(0, start), number=number)


def test_an_event_is_shown_while_it_lasts_and_for_a_while_after() -> None:
    ticker = Ticker([make_event(2, 5, 5), make_event(1, 1, 4)])
    shown = {time: [event.number for event in ticker.at(time)] for time in (0, 1, 4.9, 5, 5.9, 6, 6.9, 7)}
    assert SHOWN_SECONDS == 2
    assert shown == {0: [], 1: [1], 4.9: [1], 5: [2, 1], 5.9: [2, 1], 6: [2], 6.9: [2], 7: []}


def test_of_many_only_the_latest_are_shown() -> None:
    ticker = Ticker(make_event(n, n / 10, n / 10) for n in range(10))
    assert MOST == 6
    assert [event.number for event in ticker.at(1)] == [9, 8, 7, 6, 5, 4]


def test_a_caption_says_what_has_happened_to_whom_and_where() -> None:
    rows = ({"label": "person", "track": 4}, {"label": "bag"})
    event = Event("zone_dwell", "s", Moment(0, 0), Moment(0, 0), Moment(0, 0), rows, {"zone": "door", "seconds": 3})
    assert words_for(event) == "zone dwell: person 4, bag, door"
    assert words_for(make_event(1, 0, 0)) == "k"
