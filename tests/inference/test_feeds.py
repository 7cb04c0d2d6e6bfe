"""What networks are fed beside pictures, and outputs of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cvpipe.errors import InvalidModel
from cvpipe.inference import find_card
from cvpipe.inference.networks import OnnxNetwork
from tests.modelcards import write_card


def network_of(
    folder: Path,
    nodes: list[onnx.NodeProto],
    *,
    inputs: dict[str, tuple[int, list[Any] | None]],
    outputs: dict[str, int],
    weights: dict[str, np.ndarray] | None = None,
    **changes: Any,
) -> OnnxNetwork:
    """A network of 64x32 pixels, opened. inputs: element type and shape; outputs: element type."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    spec = {"width": 64, "height": 32, "resize": "stretch"} | changes.pop("input", {})
    write_card(folder, model.SerializeToString(), input=spec, **changes)
    return OnnxNetwork(find_card(folder, "tiny"), device="cpu")


PICTURE = (TensorProto.FLOAT, ["n", 3, 32, 64])
SUM = helper.make_node("ReduceMax", ["image"], ["most"], axes=[1, 2, 3], keepdims=0)
BLANK = np.zeros((32, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("what", "kind", "shape", "expected"),
    [
        ("size_wh", TensorProto.INT64, ["n", 2], [64, 32]),
        ("size_hw", TensorProto.INT64, ["n", 2], [32, 64]),
        ("size_hw", TensorProto.FLOAT, [1, 2], [32.0, 64.0]),
        ("scale_hw", TensorProto.FLOAT, ["n", 2], [1.0, 1.0]),
        ("one", TensorProto.INT32, ["n", 3], [1, 1, 1]),
    ],
    ids=["width, height", "height, width", "as floats", "scale", "ones"],
)
def test_further_inputs_are_fed_what_the_card_says(
    what: str, kind: int, shape: list[Any], expected: list[float], tmp_path: Path
) -> None:
    network = network_of(
        tmp_path,
        [helper.make_node("Identity", ["beside"], ["seen"]), SUM],
        inputs={"image": PICTURE, "beside": (kind, shape)},
        outputs={"seen": kind, "most": TensorProto.FLOAT},
        input={"extra": {"beside": what}},
    )
    first, second = network.run([BLANK, BLANK + 9])
    assert [first[0].tolist(), second[0].tolist()] == [expected, expected]
    assert [float(first[1]), float(second[1])] == [0, 9]
    assert first[0].dtype == helper.tensor_dtype_to_np_dtype(kind)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, r"one input for pictures, got \['image', 'beside'\]; name the others in input.extra"),
        ({"besides": "one"}, "no input 'besides'; there is image, beside"),
        ({"beside": "size_wh"}, "size_wh is two numbers for each picture"),
    ],
    ids=["not named", "another name", "another shape"],
)
def test_further_inputs_must_be_named_and_fit(extra: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=message):
        network_of(
            tmp_path,
            [helper.make_node("Identity", ["beside"], ["seen"]), SUM],
            inputs={"image": PICTURE, "beside": (TensorProto.FLOAT, ["n", 3])},
            outputs={"seen": TensorProto.FLOAT, "most": TensorProto.FLOAT},
            input={"extra": extra},
        )


@pytest.mark.parametrize("shape", [[1, 3, 32, 64], [3, 32, 64]], ids=["batch of 1", "no batch"])
def test_a_network_with_its_own_suppression_runs_one_picture_at_a_time(shape: list[int], tmp_path: Path) -> None:
    """The places of bright pixels: (n, dimensions), as many rows as there are."""
    network = network_of(
        tmp_path,
        [
            helper.make_node("Greater", ["image", "bright"], ["mask"]),
            helper.make_node("NonZero", ["mask"], ["columns"]),
            helper.make_node("Transpose", ["columns"], ["places"]),
        ],
        inputs={"image": (TensorProto.FLOAT, shape)},
        outputs={"places": TensorProto.INT64},
        weights={"bright": np.array(254.5, np.float32)},
    )
    assert network.batch == 1
    assert network.output_shapes == ((-1, len(shape)),)
    two = BLANK.copy()
    two[5, 7, 0] = two[6, 8, 2] = 255
    one = BLANK.copy()
    one[1, 2, 1] = 255
    some, none, single = (out[:, -3:].tolist() for (out,) in network.run([two, BLANK, one]))
    assert (some, none, single) == ([[0, 5, 7], [2, 6, 8]], [], [[1, 1, 2]])


def test_a_picture_may_be_bytes_with_channels_last(tmp_path: Path) -> None:
    network = network_of(
        tmp_path,
        [helper.make_node("Identity", ["image"], ["same"])],
        inputs={"image": (TensorProto.UINT8, ["n", 32, 64, 3])},
        outputs={"same": TensorProto.UINT8},
        input={"layout": "nhwc"},
    )
    image = np.random.default_rng(0).integers(0, 256, BLANK.shape, np.uint8)
    ((same,),) = network.run([image])
    assert same.dtype == np.uint8
    assert np.array_equal(same, image)


def test_half_floats_come_back_as_floats(tmp_path: Path) -> None:
    network = network_of(
        tmp_path,
        [helper.make_node("Identity", ["image"], ["same"])],
        inputs={"image": (TensorProto.FLOAT16, ["n", 3, 32, 64])},
        outputs={"same": TensorProto.FLOAT16},
    )
    ((same,),) = network.run([BLANK + 7])
    assert same.dtype == np.float32
    assert same.min() == same.max() == 7
