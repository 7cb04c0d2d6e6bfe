"""What may be taken over of a job, by the addresses of its stages."""

from __future__ import annotations

import pytest

from cvpipe.pipeline import Address, Reuse, find_reuse, parse_pipeline
from cvpipe.results import FrameRecord, Objects

EDGES = {"type": "edges", "name": "a"}
SCENES = {"type": "scenes", "name": "b"}


def addresses(*stages: tuple[str, str, str]) -> list[Address]:
    return [Address(position, name, kind, digest) for position, (name, kind, digest) in enumerate(stages)]


NEW = addresses(("a", "edges", "1"), ("b", "scenes", "2"))
SPEC = parse_pipeline({"name": "p", "stages": [EDGES, SCENES]})


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        pytest.param(NEW, Reuse((0, 1), frozenset()), id="all"),
        pytest.param(NEW[:1], Reuse((0,), frozenset()), id="one is new"),
        pytest.param(addresses(("a", "edges", "1"), ("b", "scenes", "9")), Reuse((0,), frozenset({"b"})), id="changed"),
        pytest.param([*NEW, Address(2, "c", "detect", "3")], Reuse((0, 1), frozenset({"c"})), id="one is gone"),
        pytest.param([*NEW, Address(2, "c", "read_text", "3")], None, id="one that may have changed others is gone"),
        pytest.param([*NEW, Address(2, "c", "resize", "3")], Reuse((0, 1), frozenset()), id="a resize is gone"),
        pytest.param(addresses(("a", "edges", "9"), ("b", "scenes", "2")), None, id="the first is another"),
        pytest.param([], None, id="a job of an earlier version"),
    ],
)
def test_stages_are_taken_over_up_to_the_first_that_is_not_the_same(old: list[Address], expected: Reuse | None) -> None:
    assert find_reuse(SPEC, NEW, old) == expected


def test_a_record_is_rid_of_what_later_stages_have_added() -> None:
    def objects(stage: str, **values: float) -> Objects:
        return Objects.make(
            stage=stage, box=[[1, 2, 3, 4]], score=[0.5], label=["x"], class_id=[0], values=[values or None]
        )

    before = FrameRecord(7, 70, 0.7, objects=objects("a", b=1.0), values={"a": 1, "every": 2})
    both = Objects.concat((objects("a", b=1.0, c=2.0), objects("c")))
    after = FrameRecord(7, 70, 0.7, objects=both, values={"a": 1, "every": 2, "c": 3})
    assert Reuse((0,), frozenset({"c"})).of(after) == before
    assert Reuse((0,), frozenset()).of(after) is after
