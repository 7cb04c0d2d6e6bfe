"""Networks and videos to tune with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from cvpipe.settings import Settings
from tests.cli.clips import make_clip
from tests.modelcards import model_bytes, write_card


def embedder() -> bytes:
    """A small network with convolutions: a vector of 8 numbers for a picture of 64x64."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], strides=[4, 4], kernel_shape=[5, 5]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], strides=[2, 2], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "w3"], ["e"], kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["out"]),
    ]
    shapes = {"w1": (8, 3, 5, 5), "w2": (8, 8, 3, 3), "w3": (8, 8, 1, 1)}
    weights = {name: random.standard_normal(shape).astype(np.float32) / 50 for name, shape in shapes.items()}
    return model_bytes(nodes, inputs={"image": [1, 3, 64, 64]}, outputs={"out": [1, 8]}, weights=weights)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a models folder that holds `tiny`, an embedding network."""
    models = tmp_path / "models"
    write_card(models, embedder(), family="embedding", task="embedding", labels=[])
    return Settings(data_dir=tmp_path / "data", models_dir=models, device="cpu")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds: a bright square that moves."""
    return make_clip(tmp_path / "clip.mp4")
