"""`classification`: one score for each class of a whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import ModelCard
from cvpipe.models import FamilyOptions, Floats, Outputs, VectorFamily, options_of, stacked


class ClassificationOptions(FamilyOptions):
    """What the card's `options` may say."""

    output: int = Field(default=0, ge=0, description="Which output it is, from 0, where there are several.")
    activation: Literal["softmax", "sigmoid", "none"] = Field(
        default="softmax",
        description="`softmax`: the network gives logits, of which one class is right; `sigmoid`: logits, each "
        "by itself; `none`: it gives 0 to 1.",
    )


class Classification(VectorFamily):
    """An output (classes,), maybe with further dimensions of 1: logits or scores."""

    kind = "classification"
    tasks = ("classification",)
    Options = ClassificationOptions

    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel unless the output is one number for each label; without labels, any row of numbers."""
        options: ClassificationOptions = options_of(self, card)
        shape = shapes[options.output] if options.output < len(shapes) else ()
        count = int(np.prod(shape))
        if not shape or max(shape) != count or len(card.labels) not in (0, count):
            raise InvalidModel(
                f"model {card.ref}: classification with {len(card.labels)} labels has an output of shape "
                f"({len(card.labels) or 'classes'},); output {options.output} of this network has {list(shapes)}",
                field="labels",
            )

    def decode(self, outputs: Sequence[Outputs], card: ModelCard) -> Floats:
        """(n, classes), 0 to 1."""
        options: ClassificationOptions = options_of(self, card)
        rows = stacked(outputs, options.output)
        rows = rows.reshape(len(rows), -1).astype(np.float64)
        if options.activation == "softmax":
            rows = np.exp(rows - rows.max(axis=1, keepdims=True))
            rows /= rows.sum(axis=1, keepdims=True)
        elif options.activation == "sigmoid":
            rows = 1 / (1 + np.exp(-rows.clip(-700, 700)))
        return np.nan_to_num(rows).clip(0, 1).astype(np.float32)
