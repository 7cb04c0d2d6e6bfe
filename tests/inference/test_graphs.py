"""Graphs: what is refused, and sizes made free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cvpipe.errors import InvalidModel
from cvpipe.inference import graphs
from cvpipe.inference.graphs import ImageInput, freed, image_input, read_graph
from tests.modelcards import mean_network, model_bytes, table_network

RELU = helper.make_node("Relu", ["image"], ["out"])


def run(raw: bytes, picture: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: picture})[0])


def picture(width: int, height: int, n: int = 1) -> np.ndarray:
    return np.random.default_rng(0).random((n, 3, height, width), np.float32)


@pytest.mark.parametrize("raw", [b"", b"GIF89a", b"\x00" * 64, b"\xff" * 64], ids=["empty", "GIF", "zeros", "ones"])
def test_what_is_no_onnx_file_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidModel, match="not an ONNX file"):
        read_graph(raw)


def with_external_data(where: str) -> bytes:
    """A network one of whose tensors is said to lie in another file."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "secret")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model = onnx.load_model_from_string(
        model_bytes([RELU], inputs={"image": [1, 3, 8, 8]}, outputs={"out": [1, 3, 8, 8]})
    )
    if where == "weights":
        model.graph.initializer.append(tensor)
    elif where == "constant":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    else:
        inner = helper.make_graph([helper.make_node("Identity", ["secret"], ["x"])], "inner", [], [], [tensor])
        model.graph.node.append(helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner))
    return model.SerializeToString()


@pytest.mark.parametrize("where", ["weights", "constant", "nested graph"])
def test_weights_in_other_files_are_refused(where: str) -> None:
    with pytest.raises(InvalidModel, match="'secret' is kept in another file"):
        read_graph(with_external_data(where))


def test_deep_nesting_is_refused() -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", [], [])
    for _ in range(graphs.MAX_NESTING + 1):
        branch = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([branch], "g", [], [])
    with pytest.raises(InvalidModel, match="nested more than 4 deep"):
        read_graph(helper.make_model(inner).SerializeToString())


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_NODES", 3)
    with pytest.raises(InvalidModel, match="has 7 nodes; at most 3"):
        read_graph(mean_network())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"image": [1, 3, 8, 8], "size": [2]}, "one input for pictures, got"),
        ({"image": [1, 64]}, "four dimensions"),
        ({"image": [1, 1, 8, 8]}, "3 channels"),
    ],
    ids=["two inputs", "two dimensions", "one channel"],
)
def test_an_input_that_is_no_picture_is_refused(inputs: dict[str, list[int]], message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        image_input(read_graph(model_bytes([RELU], inputs=inputs, outputs={"out": None})), "nchw")


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ([1, 3, 32, 64], "nchw", ImageInput("image", 1, 32, 64)),
        ([2, 32, 64, 3], "nhwc", ImageInput("image", 2, 32, 64)),
        (["n", 3, "h", "w"], "nchw", ImageInput("image", None, None, None)),
        ([None, 3, 32, None], "nchw", ImageInput("image", None, 32, None)),
        ([3, 32, 64], "nchw", ImageInput("image", 1, 32, 64, batched=False)),
    ],
    ids=["nchw", "nhwc", "named", "unnamed", "no batch"],
)
def test_the_picture_input_is_read(shape: list[int | str | None], layout: str, expected: ImageInput) -> None:
    raw = model_bytes([RELU], inputs={"image": shape}, outputs={"out": None})
    assert image_input(read_graph(raw), layout) == expected


def test_weights_listed_as_inputs_are_no_inputs() -> None:
    weights = {"w": np.zeros((1, 3, 8, 8), np.float32)}
    node = helper.make_node("Add", ["image", "w"], ["out"])
    raw = model_bytes([node], inputs={"image": [1, 3, 8, 8], "w": [1, 3, 8, 8]}, outputs={"out": None}, weights=weights)
    assert image_input(read_graph(raw), "nchw").name == "image"


@pytest.mark.parametrize("fixed", [True, False], ids=["cells written down", "cells left open"])
def test_a_freed_graph_takes_other_sizes_and_batches(fixed: bool) -> None:
    edited = freed(read_graph(mean_network(fixed=fixed)), "nchw").SerializeToString()
    one, two = picture(160, 160), picture(96, 32, n=2)
    assert np.array_equal(run(edited, one), run(mean_network(), one))
    out = run(edited, two)
    assert out.shape == (2, 3, 4 * 12 + 2 * 6 + 1 * 3)
    assert out[1, 0, 0] == pytest.approx(two[1, 0, :8, :8].mean(), abs=1e-6)


def test_freeing_leaves_the_original_as_it_was() -> None:
    model = read_graph(mean_network())
    before = model.SerializeToString(deterministic=True)
    freed(model, "nchw")
    assert model.SerializeToString(deterministic=True) == before


def test_yolox_computes_the_same_when_freed(assets: Path) -> None:
    raw = (assets / "models" / "yolox_nano.onnx").read_bytes()
    edited = freed(read_graph(raw), "nchw").SerializeToString()
    one = picture(416, 416) * 255
    assert np.array_equal(run(edited, one), run(raw, one))
    assert run(edited, picture(416, 256, n=2)).shape == (2, 2184, 85)


def test_a_constant_answer_is_not_hurt() -> None:
    table = np.arange(12.0).reshape(3, 4)
    edited = freed(read_graph(table_network(table)), "nchw").SerializeToString()
    assert np.array_equal(run(edited, picture(64, 64)), run(table_network(table), picture(64, 64)))
