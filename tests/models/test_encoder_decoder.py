"""Encoder and decoder: which outputs and files are accepted. `tests/inference/test_captioning.py` has sentences."""

from __future__ import annotations

import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models import family
from tests.modelcards import make_card

CELLS = [(197, 768)]
OPTIONS = {"bos_token_id": 1, "eos_token_id": 2}


def make_model(*roles: str) -> ModelCard:
    files = {role: {"file": f"{role}.onnx", "sha256": "0" * 64} for role in roles}
    card = {"family": "encoder-decoder", "task": "captioning", "labels": [], "options": OPTIONS}
    return ModelCard.model_validate(make_card(**card, files=files))


@pytest.mark.parametrize(
    "roles",
    [("decoder", "tokenizer"), ("decoder", "decoder_with_past", "embed_tokens", "encoder", "tokenizer")],
    ids=["one decoder", "all files"],
)
def test_vectors_of_cells_with_a_decoder_and_its_words_are_accepted(roles: tuple[str, ...]) -> None:
    card = make_model(*roles)
    family(card).check([*CELLS, (768,)], card)


@pytest.mark.parametrize(
    ("roles", "shapes", "message", "field"),
    [
        (("decoder", "tokenizer"), [(768,)], r"wanted an output \(cells, depth\) for each picture", None),
        (("tokenizer",), CELLS, "must name a file `decoder`", "files"),
        (("decoder",), CELLS, "must name a file `tokenizer`", "files"),
        (("decoder", "tokenizer", "vocab"), CELLS, "no use for a file `vocab`; files are decoder,", "files.vocab"),
    ],
    ids=["one vector", "no decoder", "no words", "another file"],
)
def test_what_is_missing_or_of_no_use_is_told(
    roles: tuple[str, ...], shapes: list[tuple[int, ...]], message: str, field: str | None
) -> None:
    card = make_model(*roles)
    with pytest.raises(InvalidModel, match=message) as caught:
        family(card).check(shapes, card)
    assert caught.value.field == field
