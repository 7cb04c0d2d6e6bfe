"""PP-OCR's recognisers: what is accepted. `tests/inference/test_textnets.py` has lines read by one."""

from __future__ import annotations

from typing import Any

import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models import family
from tests.modelcards import make_card


def make_model(**options: Any) -> ModelCard:
    return ModelCard.model_validate(make_card(family="ppocr-recognition", task="text", labels=[], options=options))


def test_one_table_says_which_character_each_step_is() -> None:
    family(make_model()).check([(40, 97)], make_model())


@pytest.mark.parametrize("shapes", [[], [(97,)], [(1, 40, 97)], [(40, 97)] * 2], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"model tiny@1: wanted one table \(steps, characters\), got"):
        family(make_model()).check(shapes, make_model())


def test_it_has_no_options() -> None:
    with pytest.raises(InvalidModel, match="options of ppocr-recognition: none"):
        family(make_model(threshold=0.5))
