"""PP-OCR's text detectors: what is accepted. `tests/inference/test_textnets.py` has lines found by one."""

from __future__ import annotations

from typing import Any

import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models import family, options_of
from tests.modelcards import make_card


def make_model(**options: Any) -> ModelCard:
    return ModelCard.model_validate(make_card(family="ppocr-detection", task="text", labels=[], options=options))


def test_one_map_says_where_text_is() -> None:
    card = make_model(unclip_ratio=2, max_lines=9)
    family(card).check([(1, 160, 160)], card)
    said = options_of(family(card), card)
    assert (said.threshold, said.box_threshold, said.unclip_ratio, said.min_side, said.max_lines) == (0.3, 0.5, 2, 3, 9)


@pytest.mark.parametrize("shapes", [[], [(2, 160, 160)], [(160, 160)], [(1, 160, 160)] * 2], ids=str)
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidModel, match=r"model tiny@1: wanted one map \(1, height, width\), got"):
        family(make_model()).check(shapes, make_model())


def test_an_option_out_of_its_range_is_told_by_name() -> None:
    with pytest.raises(InvalidModel, match="less than or equal to 10") as caught:
        family(make_model(unclip_ratio=11))
    assert caught.value.field == "options.unclip_ratio"
