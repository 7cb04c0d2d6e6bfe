from __future__ import annotations

from typing import Any

import pytest

from cvpipe.errors import InvalidExpression
from cvpipe.expressions import Kind
from cvpipe.expressions.rules import Mention, parse_rule

FIELDS: dict[str, Kind] = {"label": "text", "score": "number"}
KNOWN: dict[Any, Any] = {
    ("label",): "person", ("score",): 0.9, ("@zone", "gate"): 12.0, ("@line", "out", "any"): 5.0,
    ("@line", "out", "in"): 5.0, ("@event", "wrong_way"): 3.0, ("@with", "bag"): 8.0, ("@without", "bag"): 8.0,
    ("@without", "badge"): 20.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('person in zone "gate"', True),
        ('"person" in zone "gate"', True),
        ('dog in zone "gate"', False),
        ('in zone "gate"', True),
        ('in zone "hall"', False),
        ('person in zone "gate" for > 10 s', True),
        ('person in zone "gate" for > 12 s', False),
        ('person in zone "gate" for >= 12 s', True),
        ('person in zone "gate" for 12 s', True),
        ('person in zone "gate" for > 1 min', False),
        ('person in zone "gate" for > 10 s and no "badge"', True),
        ('person in zone "gate" for > 10 s and no badge', True),
        ('person in zone "gate" for > 10 s and no "bag"', False),
        ('not in zone "gate"', False),
        ('not (dog in zone "gate") and score > 0.5', True),
        ('person crossed line "out"', True),
        ('crossed line "out" in', True),
        ('crossed line "out" out', False),
        ('crossed line "out" within 5 s', True),
        ('crossed line "out" in within 4 s', False),
        ('crossed line "way"', False),
        ('with "bag"', True),
        ('with "bag" within 5 s', False),
        ('with "badge"', False),
        ('no "bag" for > 7 s', True),
        ('no "bag" for > 8 s', False),
        ('no "badge" for > 10 s', True),
        ('event "wrong_way" within 3 s', True),
        ('event "wrong_way" within 2 s', False),
        ('event "dwell"', False),
        ('label in ["person", "dog"] and in zone "gate"', True),
        ('dog in zone "gate" or score > 0.5', True),
    ],
)
def test_a_rule_holds_or_does_not(text: str, expected: bool) -> None:
    assert parse_rule(text, FIELDS).expression.holds(KNOWN.get) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person in zone gate", "at character 16: wanted a zone's name in quotes, got gate"),
        ("person in zone", "at the end: wanted a zone's name in quotes"),
        ('person in zone ""', "a name is empty"),
        ('person in zone "gate" for 10', "at character 27: wanted a duration such as `10 s`, got 10"),
        ('person in zone "gate" for > ', "at the end: wanted a duration"),
        ('person crossed "out"', 'at character 16: wanted `line`, got "out"'),
        ('crossed line "out" within', "at the end: wanted a duration"),
        ("no", "at the end: wanted what is not on somebody"),
        ("no and score > 1", "at character 4: wanted what is not on somebody"),
        ("event wrong_way", "at character 7: wanted a kind of event in quotes, got wrong_way"),
        ("in the zone", "at character 4: wanted `zone`, got the"),
        ("person near car", "at character 1: there is no field person"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        parse_rule(text, FIELDS)
    assert message in str(caught.value)


def test_what_a_rule_names_is_told_with_its_place() -> None:
    rule = parse_rule('in zone "gate" and crossed line "out" in and no bag and plate.text == "x"', FIELDS)
    assert list(rule.mentions()) == [
        Mention("@zone", "gate", 8),
        Mention("@line", "out", 32),
        Mention("@with", "bag", 48),
    ]
    assert rule.expression.stages() == {"plate": 56}
