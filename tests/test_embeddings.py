"""Embeddings on the wire, and the nearest of a job's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cvpipe.embeddings import Match, Place, find, from_value, nearest, to_value
from cvpipe.errors import InvalidRequest, NotFound
from cvpipe.results import FrameRecord, Objects


def unit(angle: float) -> np.ndarray:
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], np.float32)


def make_record(frame: int, *angles: float | None, stage: str = "embed", whole: float | None = None) -> FrameRecord:
    """An object for each angle; None: one without an embedding."""
    n = len(angles)
    objects = Objects.make(
        stage="people", box=[[i, 0, i + 1, 1] for i in range(n)], score=[0.5] * n, label=["person"] * n,
        track=np.arange(n) + 1,
        values=[None if a is None else {"classify": {"top": []}, stage: to_value(unit(a))} for a in angles],
    )  # fmt: skip
    values = {} if whole is None else {stage: to_value(unit(whole))}
    return FrameRecord(frame, frame, frame / 10, objects=objects, values=values)


def test_a_vector_comes_back_as_halves() -> None:
    vector = np.random.default_rng(0).normal(size=256).astype(np.float32)
    value = to_value(vector)
    assert value["size"] == 256
    assert len(value["vector"]) == 684
    assert from_value(value) == pytest.approx(vector, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        None, 7, {}, {"vector": 7, "size": 1}, {"vector": "???", "size": 1}, {"vector": "AA==", "size": 1},
        {"vector": "AAA=", "size": 2}, {"vector": "", "size": 0}, [{"vector": "AAA=", "size": 1}],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_vector_is_none(value: Any) -> None:
    assert from_value(value) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [("12:3", Place(12, 3)), ("0", Place(0, None)), ("007:0", Place(7, 0))],
    ids=["object", "frame", "zeros"],
)
def test_places_are_read(text: str, place: Place) -> None:
    assert Place.read(text) == place
    assert Place.read(str(place)) == place


@pytest.mark.parametrize("text", ["", ":", "a", "1:", ":1", "1:2:3", "-1", "1.5", "1:-1", "٣"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="wanted FRAME or FRAME:OBJECT") as caught:
        Place.read(text)
    assert caught.value.field == "like"


def test_the_nearest_come_first_and_equal_ones_in_order() -> None:
    records = [make_record(0, 0, 90), make_record(1, 60, None, 0), make_record(2), make_record(3, 180, 60)]
    found = nearest(records, unit(0) * 5, stage="embed", top=4, but=Place(0, 0))
    assert [str(m.place) for m in found] == ["1:2", "1:0", "3:1", "0:1"]
    assert [m.score for m in found] == pytest.approx([1, 0.5, 0.5, 0], abs=1e-3)
    assert found[0] == Match(Place(1, 2), 0.1, "embed", 1.0, "person", (2, 0, 3, 1), 3)
    assert Match.from_dict(found[0].to_dict()) == found[0]
    assert [str(m.place) for m in nearest(records, unit(180), stage="embed", top=1)] == ["3:0"]
    assert nearest(records, unit(0), stage="other", top=3) == []


def test_embeddings_of_another_size_are_no_match() -> None:
    records = [make_record(0, 0), FrameRecord(1, 1, 0.1, values={"embed": to_value(np.ones(3, np.float32))})]
    assert [str(m.place) for m in nearest(records, unit(0), stage="embed", top=5)] == ["0:0"]


def test_frames_as_a_whole_are_found_too() -> None:
    records = [make_record(n, whole=10.0 * n) for n in range(5)]
    name, vector = find(records, Place(3, None))
    found = nearest(records, vector, stage=name, top=2, but=Place(3, None))
    assert sorted(str(m.place) for m in found) == ["2", "4"]
    assert found[0].box is None


def test_the_stage_is_the_first_that_made_a_vector_unless_named() -> None:
    records = [make_record(0, 0, stage="a")]
    assert find(records, Place(0, 0))[0] == "a"
    assert find(records, Place(0, 0), "a")[0] == "a"


@pytest.mark.parametrize(
    ("place", "stage", "words"),
    [
        (Place(9, 0), None, "no embedding at 9:0"),
        (Place(1, 0), None, "no embedding at 1:0"),
        (Place(0, 1), None, "no embedding at 0:1"),
        (Place(0, 5), None, "no embedding at 0:5"),
        (Place(0, None), None, "no embedding at 0$"),
        (Place(0, 0), "other", "no embedding of the stage 'other' at 0:0"),
    ],
    ids=["beyond", "between", "none", "no object", "frame", "stage"],
)
def test_where_there_is_no_embedding_is_told(place: Place, stage: str | None, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        find([make_record(0, 0, None), make_record(2, 0)], place, stage)


def test_records_are_read_one_at_a_time_and_no_further_than_needed() -> None:
    alive: set[int] = set()
    peak = [0]

    def stream(n: int) -> Iterator[FrameRecord]:
        for number in range(n):
            alive.add(number)
            peak[0] = max(peak[0], number)
            yield make_record(number, float(number % 360))

    assert find(stream(10_000), Place(5, 0))[0] == "embed"
    assert peak[0] == 5
    assert len(nearest(stream(500), unit(0), stage="embed", top=3)) == 3
