"""A captioner made of arithmetic: an encoder of pictures, a decoder of tokens, and a tokenizer.

It says `a LIGHT scene in COLOUR`. The encoder gives the mean colour of each cell of 8 x 8 pixels; the decoder attends
to all cells alike, and its next token depends on the last one and on the mean of the cells: after `a` comes the LIGHT
whose brightness is nearest, after `in` the COLOUR whose excess over grey is nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from onnx import helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from examples.handmade.graphs import model_bytes

SIDE: Final = 64
END: Final = "</s>"  # begins sentences too, as in GPT-2
# Mean of red, green and blue, from -1 to 1.
LIGHT: Final[Mapping[str, float]] = {"dark": -0.8, "dim": -0.4, "bright": 0.2}
# How far each channel is from the mean of the three.
COLOUR: Final[Mapping[str, tuple[float, float, float]]] = {
    "grey": (0, 0, 0),
    "red": (0.2, -0.1, -0.1),
    "green": (-0.1, 0.2, -0.1),
    "blue": (-0.1, -0.1, 0.2),
}
WORDS: Final = (END, "a", *LIGHT, "scene", "in", *COLOUR)
_SURE: Final = 12.0
_SHARP: Final = 30.0


def encoder() -> bytes:
    """`pixel_values` (n, 3, 64, 64), RGB from -1 to 1 -> `last_hidden_state` (n, 64 cells, 3)."""
    cells = (SIDE // 8) ** 2
    nodes = [
        helper.make_node("AveragePool", ["pixel_values"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["means", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["last_hidden_state"], perm=[0, 2, 1]),
    ]
    return model_bytes(
        nodes,
        inputs={"pixel_values": ["n", 3, SIDE, SIDE]},
        outputs={"last_hidden_state": ["n", cells, 3]},
        weights={"shape": np.array([0, 3, cells], np.int64)},
    )


def decoder() -> bytes:
    """`input_ids` (n, tokens), `encoder_hidden_states` (n, cells, 3) -> `logits` (n, tokens, words)."""
    bias, slope = _table()
    nodes = [
        helper.make_node("ReduceMean", ["encoder_hidden_states"], ["seen"], axes=[1], keepdims=1),
        helper.make_node("Unsqueeze", ["seen", "last"], ["column"]),  # (n, 1, 3, 1)
        helper.make_node("Gather", ["slope", "input_ids"], ["slopes"]),  # (n, tokens, words, 3)
        helper.make_node("MatMul", ["slopes", "column"], ["leaning"]),
        helper.make_node("Squeeze", ["leaning", "last"], ["lean"]),
        helper.make_node("Gather", ["bias", "input_ids"], ["usual"]),
        helper.make_node("Add", ["usual", "lean"], ["logits"]),
    ]
    return model_bytes(
        nodes,
        inputs={"input_ids": ["n", "tokens"], "encoder_hidden_states": ["n", "cells", 3]},
        outputs={"logits": ["n", "tokens", len(WORDS)]},
        weights={"bias": bias, "slope": slope, "last": np.array([3], np.int64)},
        whole=("input_ids",),
    )


def tokenizer() -> bytes:
    """A `tokenizer.json` of whole words."""
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token=END))
    made.pre_tokenizer = Whitespace()
    made.add_special_tokens([END])
    return made.to_str().encode()


def _table() -> tuple[np.ndarray, np.ndarray]:
    """What comes after each word: (words, words), and what the mean colour adds to that: (words, words, 3).

    Of several places p the nearest to x has the largest 2 p x - p p.
    """
    bias = np.full((len(WORDS), len(WORDS)), -_SURE, np.float32)
    slope = np.zeros((len(WORDS), len(WORDS), 3), np.float32)
    follows = {END: ("a",), "a": LIGHT, "scene": ("in",), "in": COLOUR}
    follows |= dict.fromkeys(LIGHT, ("scene",)) | dict.fromkeys(COLOUR, (END,))
    for before, words in follows.items():
        for word in words:
            place = WORDS.index(before), WORDS.index(word)
            bias[place] = _SURE
            if before == "a":
                bias[place] -= _SHARP * LIGHT[word] ** 2
                slope[place] = _SHARP * 2 * LIGHT[word] / 3
            elif before == "in":
                excess = np.array(COLOUR[word])
                bias[place] -= 4 * _SHARP * (excess**2).sum()
                slope[place] = 4 * _SHARP * 2 * excess
    return bias, slope
