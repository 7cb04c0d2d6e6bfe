"""What turns a network's logits into chances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def sigmoid(logits: npt.NDArray[np.floating]) -> Floats:
    """1 / (1 + exp(-x)) for each; of no size too large."""
    chances = np.tanh(np.multiply(logits, 0.5, dtype=np.float32))
    chances += 1
    chances *= 0.5
    return chances


def logit(chance: float) -> float:
    """The inverse of `sigmoid`: what a logit must reach for that chance; minus or plus infinity for 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(np.float64(chance)) - np.log1p(-np.float64(chance)))


def softmax(logits: npt.NDArray[np.floating], *, axis: int = -1) -> Floats:
    """exp(x) divided by their sum along an axis."""
    chances = np.exp(np.subtract(logits, logits.max(axis=axis, keepdims=True), dtype=np.float32))
    chances /= chances.sum(axis=axis, keepdims=True)
    return chances
