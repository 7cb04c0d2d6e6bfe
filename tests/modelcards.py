"""Folders of models for tests, and small networks whose answers are known."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from cvpipe.results import Objects
from examples.handmade.graphs import model_bytes

CARDS = Path(__file__).parents[1] / "examples" / "models"
STRIDES = (8, 16, 32)


def write_yolox_card(models_dir: Path, assets: Path) -> Path:
    """Put the example card `yolox-nano` and its network into `models_dir`, as version 1; returns the card's path."""
    folder = models_dir / "yolox-nano" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    network = folder / "yolox_nano.onnx"
    if not network.exists():
        network.symlink_to((assets / "models" / network.name).resolve())
    return Path(shutil.copy(CARDS / "yolox-nano" / "model.yaml", folder / "model.yaml"))


def make_card(raw: bytes = b"", **changes: Any) -> dict[str, Any]:
    """The content of a card for a network of 64x64 pixels and three classes."""
    card: dict[str, Any] = {
        "name": "tiny",
        "family": "ultralytics-yolo",
        "file": "tiny.onnx",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "input": {"width": 64, "height": 64},
        "labels": ["cat", "dog", "bird"],
        "score_threshold": 0.5,
    }
    return card | changes


def write_card(models_dir: Path, raw: bytes, **changes: Any) -> Path:
    """Write a card and its ONNX file to `models_dir`/NAME; returns the card's path."""
    card = make_card(raw, **changes)
    path = models_dir / card["name"] / "model.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / card["file"]).write_bytes(raw)
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return path


def table_network(table: np.ndarray, *, width: int = 64, height: int = 64, batch: int = 1) -> bytes:
    """A network that answers each picture with `table`, (rows, columns), whatever it sees."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "axes"], ["spread"]),
        helper.make_node("Add", ["spread", "table"], ["out"]),
    ]
    weights = {
        "zero": np.float32(0),
        "axes": np.array([1, 2], np.int64),
        "table": table[None].astype(np.float32),
    }
    shape = [batch, *table.shape]
    return model_bytes(nodes, inputs={"image": [batch, 3, height, width]}, outputs={"out": shape}, weights=weights)


def answering_network(
    *answers: np.ndarray, width: int = 64, height: int = 64, batched: bool = True, extra: str | None = None
) -> bytes:
    """A network that answers each picture with these arrays, whatever it sees; whole numbers stay whole.

    batched: with a batch dimension of 1 before each, else as they are. extra: name of a further input, (1, 2) int64.
    """
    nodes, outputs, weights = [], [], []
    for number, answer in enumerate(answers):
        value = np.asarray(answer)[None] if batched else np.asarray(answer)
        value = value.astype(np.int64 if value.dtype.kind in "iu" else np.float32)
        weights.append(numpy_helper.from_array(value, f"answer{number}"))
        nodes.append(helper.make_node("Identity", [f"answer{number}"], [f"out{number}"]))
        kind = TensorProto.INT64 if value.dtype == np.int64 else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(f"out{number}", kind, value.shape))
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])]
    if extra is not None:
        inputs.append(helper.make_tensor_value_info(extra, TensorProto.INT64, [1, 2]))
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


def mean_network(
    *, width: int = 160, height: int = 160, batch: int = 1, columns_first: bool = False, fixed: bool = True
) -> bytes:
    """A network that answers with the mean colour of each cell of strides 8, 16 and 32: (batch, 3, cells).

    fixed: the sizes are written into its Reshape nodes, as some exporters do. columns_first: cells are listed by
    columns.
    """
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    for stride in STRIDES:
        cells = (height // stride) * (width // stride)
        pooled = f"pooled{stride}"
        nodes.append(
            helper.make_node("AveragePool", ["image"], [pooled], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        if columns_first:
            nodes.append(helper.make_node("Transpose", [pooled], [f"turned{stride}"], perm=[0, 1, 3, 2]))
            pooled = f"turned{stride}"
        weights[f"shape{stride}"] = np.array([batch, 3, cells if fixed else -1], np.int64)
        nodes.append(helper.make_node("Reshape", [pooled, f"shape{stride}"], [f"cells{stride}"]))
    nodes.append(helper.make_node("Concat", [f"cells{stride}" for stride in STRIDES], ["out"], axis=2))
    return model_bytes(
        nodes, inputs={"image": [batch, 3, height, width]}, outputs={"out": [batch, 3, None]}, weights=weights
    )


def endless_network() -> bytes:
    """A network that loops 2**60 times."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["value", "value"], ["doubled"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("doubled", TensorProto.FLOAT, None),
        ],
    )
    nodes = [helper.make_node("Loop", ["trips", "yes", "image"], ["out"], body=body)]
    weights = {"trips": np.int64(2**60), "yes": np.bool_(True)}
    return model_bytes(nodes, inputs={"image": [1, 3, 64, 64]}, outputs={"out": None}, weights=weights)


def facts(objects: Objects) -> list[tuple[str, float, list[float]]]:
    """(label, score, box) of each object."""
    return [(row["label"], row["score"], row["box"]) for row in objects.to_dicts()]


def is_near(found: Objects, wanted: list[tuple[str, float, list[float]]]) -> bool:
    """Whether these are the objects found, to within a pixel and a hundredth of score."""
    pairs = list(zip(facts(found), wanted, strict=False))
    return len(found) == len(wanted) and all(
        a[0] == b[0] and abs(a[1] - b[1]) <= 0.01 and np.abs(np.subtract(a[2], b[2])).max() <= 1 for a, b in pairs
    )
