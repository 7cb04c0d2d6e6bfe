"""Inference: model cards, and the only door to ONNX Runtime.

Importing this package loads no ONNX Runtime; making `OnnxTools` does.
"""

from __future__ import annotations

from cvpipe.inference.cards import InputSpec, ModelCard, find_card, load_cards
from cvpipe.inference.tools import OnnxTools

__all__ = ["InputSpec", "ModelCard", "OnnxTools", "find_card", "load_cards"]
