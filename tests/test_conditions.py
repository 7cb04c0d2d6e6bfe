from __future__ import annotations

from typing import Any

import pytest

from cvpipe.conditions import condition_on_frames, condition_on_objects
from cvpipe.errors import InvalidExpression
from cvpipe.results import FrameRecord, Objects

RECORD = FrameRecord(
    30,
    15360,
    1.2,
    objects=Objects.make(
        stage="things",
        box=[[10, 20, 40, 80], [100.5, 100, 160.5, 140]],
        score=[0.9, 0.3],
        label=["person", "car"],
        class_id=[0, 2],
        track=[4, -1],
        text=[None, "BV 3975"],
        values=[{"pose": {"standing": True}}, {"kind": {"top": [{"label": "van", "score": 0.8}]}}],
    ),
    values={"motion": {"share": 0.2}},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('label == "person"', [True, False]),
        ("score >= 0.9", [True, False]),
        ("class_id == 2", [False, True]),
        ("track == null", [False, True]),
        ("track > 3", [True, False]),
        ('"3975" in text', [False, True]),
        ("box == [100.5, 100, 160.5, 140]", [False, True]),
        ("x == 130.5 and y == 120", [False, True]),
        ("width == 30 and height == 60 and area == 1800", [True, False]),
        ('stage == "things"', [True, True]),
        ("frame == 30 and time < 1.3", [True, True]),
        ("pose.standing", [True, False]),
        ('kind.top.0.label == "van"', [False, True]),
        ('kind.top.1.label == "van"', [False, False]),
        ("motion.share > 0.1", [True, True]),
        ("motion.share.more > 0.1", [False, False]),
    ],
)
def test_a_condition_chooses_objects(text: str, expected: list[bool]) -> None:
    assert condition_on_objects(text).chosen(RECORD).tolist() == expected


def test_objects_of_other_stages_are_always_in() -> None:
    assert condition_on_objects("score > 0.95").chosen(RECORD, ("others",)).tolist() == [True, True]
    assert condition_on_objects("score > 0.95").chosen(RECORD, ("things",)).tolist() == [False, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"person" in labels', True),
        ('"dog" in labels', False),
        ("objects == 2", True),
        ('"BV 3975" in texts', True),
        ("frame > 30 or time >= 1.2", True),
        ("motion.share > 0.3", False),
        ("pose.standing", False),
        ('any(label == "person")', True),
        ('any(label == "dog" or frame < 3)', False),
        ('count(label == "person") == 1 and count(score > 0) == 2', True),
        ("not any(score > 0.99)", True),
    ],
)
def test_a_condition_chooses_frames(text: str, expected: bool) -> None:
    assert condition_on_frames(text).holds(RECORD) is expected


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (
            condition_on_frames,
            'label == "car"',
            "at character 1: `label` is of objects, and this stage looks at whole fr",
        ),
        (
            condition_on_objects,
            '"car" in labels',
            "at character 10: `labels` is of frames, and this stage looks at obj",
        ),
        (condition_on_frames, "lables", "did you mean labels?"),
    ],
)
def test_a_field_of_something_else_is_told(make: Any, text: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        make(text)
    assert message in str(caught.value)
