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


def answering(
    outputs: dict[str, Sequence[int]],
    *,
    image: Sequence[Any],
    dtype: int = TensorProto.FLOAT,
    extra: dict[str, Sequence[Any]] | None = None,
    integers: Sequence[str] = (),
    last: str = "",
    metadata: dict[str, str] | None = None,
) -> bytes:
    """A network of outputs of these shapes, between 0 and 1, or whole numbers; its input is called `images`.

    extra: further inputs of whole numbers. last: an operator that makes the outputs; before it they are -8 to 8.
    """
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "one"], ["flat"]),
        helper.make_node("Mul", ["flat", "little"], ["level"]),
        *(helper.make_node("Identity", [name], [f"{name}_seen"]) for name in extra or {}),
    ]
    weights = {"one": np.array([1]), "little": np.array([1e-6], np.float32)}
    random = np.random.default_rng(7)
    for name, shape in outputs.items():
        values = random.uniform(-8, 8, shape) if last else random.uniform(0, 0.99, shape)
        weights[f"{name}_pattern"] = values.astype(np.float32)
        nodes.append(helper.make_node("Add", [f"{name}_pattern", "level"], [f"{name}_sum"]))
        kind = TensorProto.INT64 if name in integers else TensorProto.FLOAT
        made = f"{name}_{last.lower()}" if last else f"{name}_sum"
        if last:
            nodes.append(helper.make_node(last, [f"{name}_sum"], [name if kind == TensorProto.FLOAT else made]))
        if not last or kind == TensorProto.INT64:
            nodes.append(helper.make_node("Cast", [made], [name], to=kind))
    ports = [helper.make_tensor_value_info("images", dtype, image)]
    ports += [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in (extra or {}).items()]
    given = [
        helper.make_tensor_value_info(name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, shape)
        for name, shape in outputs.items()
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "network", ports, given, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def cells(size: int = 64) -> int:
    """Of strides 8, 16 and 32."""
    return sum((size // stride) ** 2 for stride in (8, 16, 32))


def yolox(classes: int = 3) -> bytes:
    return table(cells(), 5 + classes)


def ultralytics(classes: int = 3, *, metadata: dict[str, str] | None = None) -> bytes:
    return table(4 + classes, cells(), metadata=metadata)
