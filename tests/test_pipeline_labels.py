"""Labels that nothing can have are refused before a job begins, with the nearest that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import parse_pipeline
from cvpipe.pipeline.cards import check_cards

PEOPLE = {"type": "detect", "name": "people", "model": "drawn-street", "classes": ["person", "dog"]}
ALL = {"type": "detect", "name": "all", "model": "drawn-street"}
SPOTS = {"type": "contours", "name": "spots", "label": "spot"}
TRACK = {"type": "track", "of": "people"}


def rule(when: str, **options: Any) -> dict[str, Any]:
    return {"type": "rules", "of": "people", "rules": [{"name": "r", "when": when, **options}]}


def check(*stages: dict[str, Any]) -> None:
    check_cards(parse_pipeline({"name": "p", "stages": stages}), Path("nowhere"), field="pipeline")


@pytest.mark.parametrize(
    ("stages", "field", "words"),
    [
        ([PEOPLE, {**TRACK, "when": 'label == "persn"'}], "1.when", "'persn'; did you mean 'person'?"),
        ([PEOPLE, {**TRACK, "when": '"car" != label'}], "1.when", "'car'; there is dog, person"),
        ([ALL, {"type": "read_text", "of": "all", "when": 'label in ["car", "bus"]'}], "1.when", "'bus'"),
        ([PEOPLE, {"type": "edges", "when": '"cra" in labels'}], "1.when", "'cra'"),
        ([PEOPLE, TRACK, rule('persn in zone "a"')], "2.rules.0.when", "zone"),
        ([PEOPLE, TRACK, rule('label == "persn"')], "2.rules.0.when", "'persn'; did you mean 'person'?"),
        ([PEOPLE, TRACK, rule('no "badge" for > 3 s')], "2.rules.0.when", "'badge'"),
        ([PEOPLE, TRACK, rule('"dgo" in labels', about="frame")], "2.rules.0.when", "'dgo'; did you mean 'dog'?"),
        ([PEOPLE, TRACK, {"type": "stationary", "of": "people", "owners": ["persn"]}], "2.owners.0", "'persn'"),
        (
            [PEOPLE, TRACK, {"type": "proximity", "of": "people", "distance": 9, "between": ["person", "dgo"]}],
            "2.between.1", "'dgo'; did you mean 'dog'?",
        ),
        ([PEOPLE, {"type": "redact", "of": ["people"], "labels": ["dog", "face"]}], "1.labels.1", "'face'"),
        (
            [PEOPLE, TRACK, {"type": "crops", "name": "best", "of": "people"},
             {"type": "read_text", "of": "best", "when": 'label == "car"'}],
            "3.when", "'car'",
        ),
        ([{**PEOPLE, "classes": ["persn"]}], "0.classes", "'persn'; did you mean 'person'?"),
    ],
)  # fmt: skip
def test_a_label_that_nothing_can_have_is_refused(stages: list[dict[str, Any]], field: str, words: str) -> None:
    with pytest.raises(InvalidPipeline) as told:
        check(*stages)
    assert words in str(told.value)
    assert told.value.message.startswith(f"stage {int(field[0]) + 1} (") or "zone" in words
    assert told.value.field == f"pipeline.stages.{field}" or "zone" in words


@pytest.mark.parametrize(
    "stages",
    [
        [PEOPLE, SPOTS, TRACK, rule('label == "person" and no "spot"')],
        [ALL, {"type": "track", "when": 'label in ["car", "person"]'}],
        [ALL, {"type": "read_text", "name": "signs"}, {"type": "track", "when": 'label != "anything"'}],  # nobody knows
        [{"type": "track", "when": 'label == "anything"'}],
        [PEOPLE, {**TRACK, "when": 'text == "persn" or stage == "x" or "per" in label'}],
    ],
)
def test_what_there_can_be_or_nobody_knows_passes(stages: list[dict[str, Any]]) -> None:
    check(*stages)
