"""Small networks in the layouts that exporters write, for adding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def network(
    nodes: Sequence[NodeProto],
    *,
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, Sequence[Any]],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 13,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """An ONNX file of float inputs and outputs."""
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "network", ports[0], ports[1], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def table(rows: int, columns: int, *, size: int = 64, metadata: dict[str, str] | None = None) -> bytes:
    """A network whose one output (1, rows, columns) depends on the picture and its place."""
    pattern = np.random.default_rng(7).uniform(0, 1, (1, rows, columns)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("ReduceMean", ["mean"], ["level"], axes=[1], keepdims=1),
        helper.make_node("Reshape", ["level", "shape"], ["one"]),
        helper.make_node("Mul", ["one", "pattern"], ["output"]),
    ]
    return network(
        nodes,
        inputs={"images": (1, 3, size, size)},
        outputs={"output": (1, rows, columns)},
        weights={"shape": np.array([1, 1, 1]), "pattern": pattern},
        metadata=metadata,
    )


def cells(size: int = 64) -> int:
    """Of strides 8, 16 and 32."""
    return sum((size // stride) ** 2 for stride in (8, 16, 32))


def yolox(classes: int = 3) -> bytes:
    return table(cells(), 5 + classes)


def ultralytics(classes: int = 3, *, metadata: dict[str, str] | None = None) -> bytes:
    return table(4 + classes, cells(), metadata=metadata)
