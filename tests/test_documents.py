"""What is wrong with a text that is neither YAML nor JSON."""

from __future__ import annotations

import json

import pytest
import yaml

from cvpipe.documents import mistake


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("a: 1\n b: 2\n", "line 2, column 3: mapping values are not allowed here", id="indented"),
        pytest.param("a: [1\nb: 2\n", "line 2, column 2: expected ',' or ']', but got ':'", id="open"),
        pytest.param(
            "a:\n\t- 1\n", "line 2, column 1: found character '\\t' that cannot start any token", id="tabulator"
        ),
    ],
)
def test_a_mistake_in_yaml_is_told_with_its_line_and_column(text: str, told: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.safe_load(text)
    assert mistake(caught.value) == told


def test_a_mistake_in_json_is_told_in_one_line() -> None:
    with pytest.raises(ValueError, match="delimiter") as caught:
        json.loads('{"a": 1\n"b": 2}')
    assert mistake(caught.value) == "Expecting ',' delimiter: line 2 column 1 (char 8)"
