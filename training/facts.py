"""The choices that make the model what it is; the ONNX file carries them, and a test compares."""

from __future__ import annotations

from pathlib import Path
from typing import Final

NAME: Final = "drawn-street"
MODEL_VERSION: Final = "2"
SEED: Final = 20
STEPS: Final = 5000
BATCH: Final = 8
SIDES: Final = (192, 160)
"""Pixels of the pictures' sides, in turns."""
SIZE: Final = 320
"""Pixels of the sides of the canvas that the card asks for."""
HELD_OUT_SEED: Final = 7777
"""Of the scenes that the accuracy is measured on: other people, other cars, other places."""
FOLDER: Final = Path(__file__).resolve().parents[1] / "src" / "cvpipe" / "shipped_models" / NAME / MODEL_VERSION
