"""`embedding`: a picture as a vector, alike for pictures that are alike (re-identification, CLIP, DINO, faces, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import FamilyOptions, Floats, Outputs, VectorFamily, options_of, stacked


class EmbeddingOptions(FamilyOptions):
    """What the card's `options` may say."""

    output: int = Field(default=0, ge=0, description="Which output it is, from 0, where there are several.")
    pool: Literal["first", "mean"] | None = Field(
        default=None,
        description="Of an output (tokens, d), as vision transformers give it: the first token, or the mean of all.",
    )


class Embedding(VectorFamily):
    """An output (d,), maybe with further dimensions of 1, scaled to length 1; or (tokens, d), pooled."""

    kind = "embedding"
    tasks = ("embedding",)
    Options = EmbeddingOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the output is a row of numbers, or a table with a `pool`."""
        options: EmbeddingOptions = options_of(self, card)
        shape = shapes[options.output] if options.output < len(shapes) else ()
        one_row = bool(shape) and max(shape) == np.prod(shape)
        if not one_row and not (len(shape) == 2 and options.pool):
            raise InvalidModel(
                f"model {card.ref}: embedding has an output of shape (d,), or (tokens, d) and `pool` in its options; "
                f"output {options.output} of this network has {list(shapes)}"
            )

    def decode(self, outputs: Sequence[Outputs], card: ModelCard) -> Floats:
        """(n, d), of length 1; what has no length stays zero."""
        options: EmbeddingOptions = options_of(self, card)
        rows = stacked(outputs, options.output).astype(np.float64)
        if rows.ndim == 3 and options.pool:
            rows = rows[:, 0] if options.pool == "first" else rows.mean(axis=1)
        rows = np.nan_to_num(rows.reshape(len(rows), -1))
        length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        return (rows / np.where(length > 0, length, 1)).astype(np.float32)
