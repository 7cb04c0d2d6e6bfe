from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.errors import InvalidExpression
from cvpipe.expressions import MAX_DEPTH, MAX_LENGTH, MAX_PARTS, Kind, parse_expression

FIELDS: dict[str, Kind] = {"label": "text", "score": "number", "text": "text", "box": "list", "moving": "truth"}
CAR: dict[str, Any] = {"label": "car", "score": 0.75, "text": None, "box": [1, 2, 3, 4], "moving": True}
STAGES: dict[str, Any] = {
    ("plate", "length"): 7, ("plate", "state"): "open", ("kind", "top", "0", "label"): "van", ("so-far", "n"): 0,
}  # fmt: skip


def holds(text: str, **values: Any) -> bool:
    known = {**{(name,): value for name, value in {**CAR, **values}.items()}, **STAGES}
    return parse_expression(text, FIELDS).holds(known.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('label == "car"', True),
        ("label == 'car'", True),
        ('label != "car"', False),
        ('label in ["car", "truck"] and score > 0.5', True),
        ('label in ["bus", "truck"] or score > 0.9', False),
        ('label not in ["bus", "truck"]', True),
        ('not label == "car"', False),
        ("not not moving", True),
        ("score >= 0.75", True),
        ("score > 0.75", False),
        ("score < 7.5e-1", False),
        ("score <= 1 and score > -1", True),
        ("3 in box", True),
        ("5 in box", False),
        ('"ar" in label', True),
        ('label < "cat"', True),
        ("moving", True),
        ("moving == true", True),
        ("text == null", True),
        ("text != null", False),
        ("text", False),
        ('text == ""', False),
        ('"x" in text', False),
        ("plate.length > 6", True),
        ("plate.length > 10 s", False),
        ("plate.length > 6500 ms", True),
        ("plate.length > 0.1 min", True),
        ("plate.length < 1h", True),
        ('plate.length == "7"', False),
        ('plate.length != "7"', True),
        ('plate.state in ["open", null]', True),
        ("plate.missing > 1", False),
        ("plate.missing <= 1", False),
        ("plate.missing == null", True),
        ('kind.top.0.label == "van"', True),
        ("so-far.n", False),
        (r'label == "c\"ar"', False),
        ("label in []", False),
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("not false and false", False),
    ],
)  # fmt: skip
def test_an_expression_holds_or_does_not(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'is empty; wanted a condition such as label == "car"'),
        ("   ", 'is empty; wanted a condition such as label == "car"'),
        ("lable == 1", "at character 1: there is no field lable (did you mean label?)"),
        (
            "score > hihg",
            "at character 9: there is no field hihg (there is: box, label, moving, score, text, and STAGE",
        ),
        ("score > car", 'a text is written in quotes, "car"'),
        ("score = 1", "at character 7: wanted `==`, got `=`"),
        ("score > 1 && moving", "at character 11: wanted `and`, `or`, `not`, got '&'"),
        ("score >", "at the end: wanted a field, a number, a text or a list"),
        ("score > > 1", "at character 9: wanted a field, a number, a text or a list, got >"),
        ('label == "car', 'at character 10: this text has no end; close it with "'),
        ('label in ["car", "truck"', "at the end: the list has no end; wanted `]`"),
        ('label in ["car" "truck"]', 'at character 17: wanted `,` or `]`, got "truck"'),
        ("label in [car]", 'at character 11: wanted a number or a text in the list; write "car"'),
        ("label in 5", "at character 10: wanted a list or a text behind `in`, got 5"),
        ("score in label", "at character 10: only a text is in a text, got label"),
        ("(score > 1", "at the end: wanted `)`"),
        ("score > 1)", "at character 10: wanted `and`, `or` or a comparison, got )"),
        ("score moving", "at character 7: wanted `and`, `or` or a comparison, got moving"),
        ("0 < score < 1", "at character 11: compares what is a comparison already; join two with `and`, got <"),
        ('score > "high"', "at character 7: a number and a text can't be compared"),
        ("moving > true", "at character 8: a truth is neither more nor less than another"),
        ("score > 10 parsecs", "at character 12: wanted `and`, `or` or a comparison, got parsecs"),
        ("score > 10px", "at character 9: '10px' is no number; units are ms, s, min, h"),
        ("score > 1.2.3", "at character 9: '1.2.3' is no number"),
        ("score > 1e99", "at character 9: 1e99 is too large a number"),
        (r'label == "\x41"', r"at character 11: there is no \x; a \ itself is \\"),
        ("__import__('os')", "at character 1: there is no field __import__"),
        ("label.__class__()", "at character 16: wanted `and`, `or` or a comparison, got ("),
        ("score > $1", "at character 9: '$' means nothing here"),
        ("label == \u2018car\u2019", "at character 10: '\u2018' means nothing here"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        parse_expression(text, FIELDS)
    assert message in str(caught.value)


def test_what_means_something_only_elsewhere_is_told() -> None:
    with pytest.raises(InvalidExpression, match="at character 5: a frame has many labels"):
        parse_expression("not label", {}, elsewhere={"label": "a frame has many labels"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("(" * 17 + "true" + ")" * 17, "at character 17: more than 16 brackets", id="brackets"),
        pytest.param("not " * 17 + "true", "more than 16 brackets", id="not"),
        pytest.param(f"score in [{','.join('1' * 250)}]", "more than 200 parts", id="a list"),
        pytest.param("score > 1 and " * 71 + "score > 10", "1004 characters are too many; 1000 are", id="characters"),
    ],
)
def test_an_expression_of_any_size_is_refused_at_once(text: str, message: str) -> None:
    assert (MAX_DEPTH, MAX_PARTS, MAX_LENGTH) == (16, 200, 1000)
    with pytest.raises(InvalidExpression, match=message):
        parse_expression(text, FIELDS)


def test_the_largest_ones_allowed_are_read() -> None:
    assert holds("(" * 16 + "true" + ")" * 16)
    assert holds(" and ".join(["true"] * 111))


def test_it_names_the_stages_whose_values_it_wants() -> None:
    asked = parse_expression("plate.length > 1 and (kind.top.0.label == label or plate.state)", FIELDS)
    assert asked.stages() == {"plate": 0, "kind": 22}


def error_of(text: str) -> str | None:
    """What is wrong with a text; None where it is an expression, which then has a value."""
    try:
        assert holds(text) in (True, False)
    except InvalidExpression as error:
        return str(error)
    return None


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_an_error_with_a_place(text: str) -> None:
    assert (error_of(text) or "at ").startswith(("at ", "is empty"))


WORDS = ["label", "score", "a.b", "1", '"x"', "and", "or", "not", "in", "(", ")", "==", "<", "[", "]", ",", "10 s"]


@given(st.lists(st.sampled_from(WORDS), max_size=24))
def test_any_row_of_words_is_an_expression_or_an_error(words: list[str]) -> None:
    assert (error_of(" ".join(words)) or "at ").startswith(("at ", "is empty"))


def test_the_worst_text_takes_no_time_to_refuse() -> None:
    started = time.monotonic()
    for text in ('"' + "\\" * 999, "1" * 1000, "a." * 500, "-" * 1000, "[" * 1000, "not " * 250):
        with pytest.raises(InvalidExpression):
            parse_expression(text, FIELDS)
    assert time.monotonic() - started < 10
