"""PP-OCR's angle networks: what is accepted. `tests/inference/test_textnets.py` has lines turned by one."""

from __future__ import annotations

from typing import Any

import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models import family, options_of
from tests.modelcards import make_card


def make_model(**options: Any) -> ModelCard:
    return ModelCard.model_validate(make_card(family="ppocr-angle", task="text", labels=[], options=options))


def test_two_numbers_are_for_upright_and_upside_down() -> None:
    card = make_model(threshold=0.7)
    family(card).check([(2,)], card)
    assert options_of(family(card), card).threshold == 0.7
    assert options_of(family(card), make_model()).threshold == 0.9


@pytest.mark.parametrize("shapes", [[], [(3,)], [(1, 2)], [(2,), (2,)]], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"model tiny@1: wanted \(2,\), for 0 and 180 degrees, got"):
        family(make_model()).check(shapes, make_model())


def test_an_option_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(InvalidModel, match="options of ppocr-angle: threshold"):
        family(make_model(thresold=0.7))
