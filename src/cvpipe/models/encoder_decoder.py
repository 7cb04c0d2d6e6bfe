"""Encoder and decoder: networks that say a sentence about a picture (ViT-GPT2, BLIP, Florence-2, and their like).

The card's `file` is the encoder of pictures. `files` names the others: `decoder`; `decoder_with_past`, for the tokens
after the first, where it is a file of its own; `embed_tokens` and `encoder`, where words are mixed with the picture
before anything is said; `tokenizer`, a tokenizer.json. `cvpipe.inference.captioning` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard, Task
from cvpipe.inference.generation import CaptionOptions
from cvpipe.models import Family, FamilyOptions

_ROLES = {
    "decoder": True,
    "tokenizer": True,
    "decoder_with_past": False,
    "embed_tokens": False,
    "encoder": False,
}


class EncoderDecoderOptions(CaptionOptions, FamilyOptions):
    """How sentences are made: what the exporter's `generation_config.json` says, and prompts."""


class EncoderDecoder(Family):
    """Its outputs are read token by token, not by a family; this one knows its options and files."""

    kind = "encoder-decoder"
    tasks: ClassVar[tuple[Task, ...]] = ("captioning",)
    Options = EncoderDecoderOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel where the encoder gives no vectors, or a file is missing or not known."""
        if not any(len(shape) == 2 for shape in shapes):
            raise InvalidModel(
                f"model {card.ref}: wanted an output (cells, depth) for each picture, got {list(shapes)}"
            )
        for role, is_needed in _ROLES.items():
            if is_needed and role not in card.files:
                raise InvalidModel(f"model {card.ref}: the card must name a file `{role}`", field="files")
        unknown = sorted(set(card.files) - set(_ROLES))
        if unknown:
            raise InvalidModel(
                f"model {card.ref}: there is no use for a file `{unknown[0]}`; files are {', '.join(_ROLES)}",
                field=f"files.{unknown[0]}",
            )
