"""Records: the same after any way over the wire."""

import json
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.results import Found, FrameRecord, Objects, epoch_seconds
from cvpipe.rle import Mask

words = st.text(max_size=12)
numbers = st.floats(0, 8192, allow_nan=False, width=32)


@st.composite
def objects(draw: st.DrawFn) -> Objects:
    n = draw(st.integers(0, 6))

    def some(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    points = st.lists(st.tuples(numbers, numbers, st.floats(0, 1, width=32)), min_size=1, max_size=4)
    parts = Objects.make(
        stage=draw(words),
        box=np.array(some(st.tuples(numbers, numbers, numbers, numbers))).reshape(-1, 4),
        score=some(st.floats(0, 1, width=32)),
        label=some(words),
        class_id=some(st.integers(-1, 90)),
        text=some(st.none() | words),
        track=some(st.integers(-1, 10**6)),
        keypoints=some(st.none() | points),
        mask=some(st.none() | st.builds(Mask, st.integers(1, 9), st.integers(1, 9), st.text("01234:;<=", max_size=9))),
        values=some(st.none() | st.dictionaries(words, st.floats(allow_nan=False, allow_infinity=False) | words)),
    )
    return Objects.concat((parts, Objects.make(stage="other", box=[[1, 2, 3, 4]], score=[0.5], label=["x"])))


records = st.builds(
    FrameRecord,
    frame=st.integers(0, 10**7),
    pts=st.integers(-(2**62), 2**62),
    time=st.floats(0, 10**6, allow_nan=False).map(lambda value: round(value, 6)),
    status=st.sampled_from(["ok", "decode_error", "failed"]),
    objects=objects(),
    values=st.dictionaries(words, st.dictionaries(words, st.floats(allow_nan=False, allow_infinity=False) | words)),
    error=st.none() | words,
    degraded=st.booleans(),
    wall_time=st.none() | st.integers(0, 4 * 10**12).map(lambda milliseconds: milliseconds / 1000),
)


@given(records)
def test_a_record_comes_back_from_messagepack_and_from_json(record: FrameRecord) -> None:
    assert FrameRecord.unpack(record.pack()) == record
    assert FrameRecord.from_dict(json.loads(record.to_json())) == record
    assert FrameRecord.unpack(record.pack()).to_json() == record.to_json()


def test_a_record_in_json_is_what_the_docs_say() -> None:
    found = Objects.make(
        stage="people",
        box=[[381.9204, 3.5342, 544.6351, 373.5]],
        score=[0.91004],
        label=["person"],
        class_id=[0],
        track=[7],
    )
    assert FrameRecord(12, 6144, 0.48, objects=found, values={"edges": {"density": 0.0311}}).to_json() == (
        '{"frame":12,"pts":6144,"time":0.48,"status":"ok","objects":[{"stage":"people","label":"person","class_id":0,'
        '"score":0.91,"box":[381.92,3.53,544.64,373.5],"track":7,"text":null}],"values":{"edges":{"density":0.0311}}}'
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(1767261600.12, "2026-01-01T10:00:00.120Z", id="milliseconds"),
        pytest.param(1767261599.9996, "2026-01-01T10:00:00.000Z", id="rounded up into the next second"),
        pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="the epoch"),
    ],
)
def test_wall_time_is_written_in_utc_to_the_millisecond(seconds: float, expected: str) -> None:
    record = FrameRecord(0, 0, 0.0, wall_time=seconds)
    assert record.to_dict()["wall_time"] == expected
    assert epoch_seconds(expected) == pytest.approx(seconds, abs=0.0005)
    assert epoch_seconds(expected.replace("Z", "+00:00")) == epoch_seconds(expected)


def test_a_time_without_its_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        epoch_seconds("2026-01-01T10:00:00")


def test_in_messagepack_objects_are_columns_that_a_person_can_read() -> None:
    found = Objects.make(
        stage="people", box=[[1, 2, 3, 4], [5, 6, 7, 8]], score=[0.5, 0.25], label=["person", "person"]
    )
    assert msgpack.unpackb(FrameRecord(0, 0, 0.0, objects=found).pack())["objects"] == {
        "stage": "people",
        "label": "person",
        "class_id": [-1, -1],
        "score": [0.5, 0.25],
        "box": [1, 2, 3, 4, 5, 6, 7, 8],
    }


def test_what_a_stage_finds_is_added_behind_what_it_changes() -> None:
    first = Objects.make(stage="a", box=[[0, 0, 1, 1]], score=[1], label=["x"])
    read = Objects.make(stage="a", box=[[0, 0, 1, 1]], score=[1], label=["x"], text=["AB 12"])
    second = Objects.make(stage="b", box=[[2, 2, 3, 3]], score=[1], label=["y"])
    record = FrameRecord(0, 0, 0.0, objects=first).with_found(Found(objects=read, added=second, values={"v": 1}))
    assert [(o["stage"], o["text"]) for o in record.to_dict()["objects"]] == [("a", "AB 12"), ("b", None)]
    assert record.values == {"v": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"box": np.zeros((1, 3), np.float32)}, "box: wanted", id="box"),
        pytest.param({"label": ()}, "label: wanted 1 entries", id="label"),
    ],
)
def test_arrays_that_do_not_match_are_refused(changes: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {
        "box": np.zeros((1, 4), np.float32), "score": np.zeros(1, np.float32), "class_id": np.zeros(1, np.int32),
        "label": ("x",), "stage": ("a",), "text": (None,), "track": np.zeros(1, np.int32),
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        Objects(**good | changes)


@pytest.mark.parametrize(
    ("time", "frame", "expected"),
    [pytest.param(0.0, 0, "0-1", id="first"), pytest.param(0.4805, 12, "481-13", id="rounded")],
)
def test_a_stream_id_begins_with_the_time(time: float, frame: int, expected: str) -> None:
    assert FrameRecord(frame, 0, time).stream_id == expected
