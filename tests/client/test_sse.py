from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.client import sse
from cvpipe.client.sse import Event, EventParser

STREAM = (
    b"retry: 2000\n: a comment\n\n"
    b'event: frame\nid: 1_480-13\ndata: {"a": 1}\n\n'
    b"data:two\ndata: lines\n\n"
    b"event: empty\n\n"
    b'id: 2\nunknown: field\nevent: done\ndata:  {"label": "\xc3\x9cnit \xe2\x80\xa8 1"}\n\n'
    b"event: frame\ndata: cut off\n"
)
EVENTS = [
    Event("frame", '{"a": 1}', "1_480-13"),
    Event("message", "two\nlines", "1_480-13"),
    Event("done", ' {"label": "Ünit \u2028 1"}', "2"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_wherever_the_bytes_are_cut_and_whatever_ends_lines(
    cuts: list[int], newline: bytes
) -> None:
    stream = STREAM.replace(b"\n", newline)
    edges = [0, *sorted(cuts), len(stream)]
    parser = EventParser()
    pieces = [stream[start:stop] for start, stop in itertools.pairwise(edges)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_one_byte_at_a_time_is_enough() -> None:
    parser = EventParser()
    stream = STREAM.replace(b"\n", b"\r\n")
    assert [event for number in range(len(stream)) for event in parser.feed(stream[number : number + 1])] == EVENTS


def test_an_id_with_a_null_is_not_taken() -> None:
    assert EventParser().feed(b"id: a\0b\ndata: x\n\n") == [Event("message", "x", "")]


@pytest.mark.parametrize("line", [b"data: 0123456789", b"data: 0123456789\n"], ids=["one line", "many lines"])
def test_an_event_that_never_ends_is_refused_before_it_fills_the_memory(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    parser = EventParser()
    for _ in range(1000 // len(line)):
        parser.feed(line)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        parser.feed(line * 30)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        EventParser().feed(b"data: \xff\xfe\n\n")
