"""Broken and hostile ONNX files: mutants of good ones, made from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.modelfiles.networks import network, ultralytics, yolox

HUGE = (2**62, 2**40, 2**31, 2**31 - 1, 65536, 0, -1, -(2**63))


def seeds(assets: Path | None) -> dict[str, bytes]:
    """Good files: small ones, and trained networks where there are some."""
    small = {
        "yolox": yolox(),
        "ultralytics": ultralytics(metadata={"names": "{0: 'a', 1: 'b', 2: 'c'}"}),
        "embedding": network(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], strides=[8, 8]),
                helper.make_node("GlobalAveragePool", ["c"], ["p"]),
                helper.make_node("Reshape", ["p", "s"], ["y"]),
            ],
            inputs={"x": (1, 3, 64, 64)},
            outputs={"y": (1, 16)},
            weights={"w": np.ones((16, 3, 8, 8), np.float32), "s": np.array([1, 16])},
        ),
        "map": network(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], strides=[4, 4]),
                helper.make_node("Resize", ["c", "", "", "s"], ["r"], mode="linear"),
                helper.make_node("Sigmoid", ["r"], ["y"]),
            ],
            inputs={"x": (1, 3, 64, 64)},
            outputs={"y": (1, 5, 64, 64)},
            weights={"w": np.ones((5, 3, 4, 4), np.float32), "s": np.array([1, 5, 64, 64])},
        ),
    }
    real = (
        {} if assets is None else {path.stem: path.read_bytes() for path in sorted((assets / "models").glob("*.onnx"))}
    )
    return small | real


def mutant(good: Mapping[str, bytes], seed: int) -> tuple[str, bytes]:
    """What was done to which file, and the bytes; the same for the same seed."""
    rng = random.Random(seed)
    small = [name for name in good if len(good[name]) < 100_000]
    name = rng.choice(small if rng.random() < 0.75 else list(good))
    kind = rng.choice(list(KINDS))
    return f"{kind} of {name}", KINDS[kind](good[name], rng)


def _bytes(raw: bytes, rng: random.Random) -> bytes:
    content = bytearray(raw)
    for _ in range(rng.choice((1, 2, 8, 64))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def _cut(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] if rng.random() < 0.5 else raw[:at] + raw[at + rng.randrange(1, 100) :]


def _head(raw: bytes, rng: random.Random) -> bytes:
    """Damage where the graph is described, not in its weights."""
    content = bytearray(raw)
    for _ in range(rng.choice((1, 3, 10))):
        content[rng.randrange(min(len(content), 400))] = rng.randrange(256)
    return bytes(content)


def _noise(_raw: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b"\x08", b"PK\x03\x04", b"ffconcat version 1.0\nfile /etc/passwd\n")) + rng.randbytes(
        rng.randrange(300)
    )


def _edit(change: Callable[[ModelProto, random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def edited(raw: bytes, rng: random.Random) -> bytes:
        model = onnx.load_model_from_string(raw)
        change(model, rng)
        return model.SerializeToString()

    return edited


def _any_node(model: ModelProto, rng: random.Random) -> NodeProto:
    return rng.choice(list(model.graph.node))


def _operator(model: ModelProto, rng: random.Random) -> None:
    node = _any_node(model, rng)
    node.op_type = rng.choice(
        ("Nothing", "Loop", "If", "Scan", "RandomNormalLike", "StringNormalizer", "Relu", "Gather")
    )
    node.domain = rng.choice(("", "", "com.example", "ai.onnx.ml"))


def _wires(model: ModelProto, rng: random.Random) -> None:
    node, other = _any_node(model, rng), _any_node(model, rng)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice((other.output[0], "nowhere", "", node.output[0]))


def _numbers(model: ModelProto, rng: random.Random) -> None:
    for node in rng.sample(list(model.graph.node), min(3, len(model.graph.node))):
        for attribute in node.attribute:
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(HUGE)
            elif attribute.type == onnx.AttributeProto.INT:
                attribute.i = rng.choice(HUGE)
            else:
                attribute.f = rng.choice((float("nan"), float("inf"), 1e38, -1.0))


def _shapes(model: ModelProto, rng: random.Random) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output])
    for dim in value.type.tensor_type.shape.dim:
        if rng.random() < 0.4:
            dim.dim_value = rng.choice(HUGE)


def _constants(model: ModelProto, rng: random.Random) -> None:
    """Whole numbers that say how to reshape and resize."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            values = np.array(numpy_helper.to_array(tensor))
            if values.size:
                values.flat[rng.randrange(values.size)] = rng.choice(HUGE)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _claims(model: ModelProto, rng: random.Random) -> None:
    """Weights that say they are larger than what is there."""
    tensor = rng.choice(list(model.graph.initializer))
    if tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(HUGE)
    else:
        tensor.dims.extend([rng.choice(HUGE)])


def _types(model: ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.5:
        rng.choice(list(model.graph.initializer)).data_type = rng.randrange(30)
    else:
        rng.choice([*model.graph.input, *model.graph.output]).type.tensor_type.elem_type = rng.randrange(30)


def _external(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../secrets", "weights.bin")))


def _versions(model: ModelProto, rng: random.Random) -> None:
    model.ir_version = rng.choice((0, 1, 3, 8, 99, 2**40))
    for opset in model.opset_import:
        opset.version = rng.choice((0, 1, 7, 13, 999, -5))


def _names(model: ModelProto, rng: random.Random) -> None:
    text = rng.choice(("x" * 10**6, "\x00\n\x1b[2J", "../../../etc", "é" * 1000, ""))
    rng.choice([*model.graph.input, *model.graph.output]).name = text
    model.metadata_props.add(key="names", value=rng.choice(("{" * 10_000, "[" * 100_000, "{0: 'a'}", "9" * 100_000)))


def _put_first(model: ModelProto, *nodes: NodeProto, replacing: str) -> None:
    """Put nodes before all others; what they make goes into the sum that the first output is."""
    graph = model.graph
    last = graph.output[0].name
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == last:
                node.output[place] = "before"
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest, helper.make_node("Add", ["before", replacing], [last])])


def _giant(model: ModelProto, rng: random.Random) -> None:
    """A tensor of terabytes."""
    size = rng.choice((2**40, 2**34, 2**62))
    model.graph.initializer.append(numpy_helper.from_array(np.array([size]), "giant_size"))
    nodes = [helper.make_node("ConstantOfShape", ["giant_size"], ["giant"])]
    nodes.append(helper.make_node("ReduceMax", ["giant"], ["giant_most"], keepdims=1))
    _put_first(model, *nodes, replacing="giant_most")


def _endless(model: ModelProto, rng: random.Random) -> None:
    """A loop of 2^60 steps."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["sum", "sum"], ["sum_on"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, (1,)),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("sum_on", TensorProto.FLOAT, (1,)),
        ],
    )
    for name, value in (("steps", np.array(2**60)), ("yes", np.array(True)), ("zero", np.zeros(1, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    _put_first(model, helper.make_node("Loop", ["steps", "yes", "zero"], ["looped"], body=body), replacing="looped")


def _deep(model: ModelProto, rng: random.Random) -> None:
    """Graphs in graphs."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["deep_start"], ["deep_end"])],
        "inner",
        [],
        [helper.make_tensor_value_info("deep_end", TensorProto.FLOAT, (1,))],
    )
    graph: GraphProto = inner
    for level in range(rng.choice((3, 10, 25))):
        node = helper.make_node("If", ["deep_yes"], [f"deep{level}"], then_branch=graph, else_branch=inner)
        out = helper.make_tensor_value_info(f"deep{level}", TensorProto.FLOAT, (1,))
        graph = helper.make_graph([node], f"level{level}", [], [out])
    for name, value in (("deep_start", np.zeros(1, np.float32)), ("deep_yes", np.array(True))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    _put_first(
        model, helper.make_node("If", ["deep_yes"], ["deep"], then_branch=graph, else_branch=inner), replacing="deep"
    )


def _many(model: ModelProto, rng: random.Random) -> None:
    """Very many nodes."""
    count = rng.choice((3_000, 60_000))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "many0"))
    nodes = [helper.make_node("Neg", [f"many{i}"], [f"many{i + 1}"]) for i in range(count)]
    _put_first(model, *nodes, replacing=f"many{count}")


def _twice(model: ModelProto, rng: random.Random) -> None:
    graph = model.graph
    if rng.random() < 0.5:
        graph.node.append(graph.node[0])
    elif len(graph.node) > 1:
        del graph.node[rng.randrange(len(graph.node))]
    else:
        graph.output.append(graph.output[0])


KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": _bytes, "head": _head, "cut": _cut, "noise": _noise, "operator": _edit(_operator), "wires": _edit(_wires),
    "numbers": _edit(_numbers), "shapes": _edit(_shapes), "constants": _edit(_constants), "claims": _edit(_claims),
    "types": _edit(_types), "external data": _edit(_external), "versions": _edit(_versions), "names": _edit(_names),
    "giant tensor": _edit(_giant), "endless loop": _edit(_endless), "deep nesting": _edit(_deep),
    "many nodes": _edit(_many), "twice": _edit(_twice),
}  # fmt: skip
"""What may be done to a file."""
