"""ONNX files from nodes and weights, and the networks of this folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

# Colours of things in daylight, RGB from 0 to 255.
COLOURS: Final[Mapping[str, tuple[int, int, int]]] = {
    "black": (30, 30, 30),
    "grey": (125, 125, 125),
    "white": (225, 225, 225),
    "red": (185, 45, 45),
    "yellow": (220, 190, 60),
    "green": (50, 150, 75),
    "blue": (55, 90, 175),
}
# The camera above a ground plane: metres, degrees below the horizon, degrees from the top of the picture to its bottom.
HEIGHT_METRES: Final = 3.0
TILT: Final = 30.0
FIELD: Final = 45.0
GROUND_SIZE: Final = (128, 72)
POINTS_SIZE: Final = (192, 256)


def model_bytes(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any] | None],
    weights: Mapping[str, Any] | None = None,
    whole: Collection[str] = (),
) -> bytes:
    """An ONNX file of float32 inputs and outputs, given by name and shape. whole: inputs that are int64."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name in whole else TensorProto.FLOAT, shape)
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        tensors,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


def main_colour() -> bytes:
    """The share of the pixels in the picture's middle that are nearest to each of `COLOURS`: (n, colours).

    The picture is (n, 3, 64, 64), RGB from 0 to 1. Nearest in RGB: the p with the largest 2 p x - p p.
    """
    colours = np.array([*COLOURS.values()], np.float32) / 255
    nodes = [
        helper.make_node("Slice", ["image", "from", "to", "axes"], ["middle"]),
        helper.make_node("Conv", ["middle", "colours", "lengths"], ["nearness"]),
        helper.make_node("Hardmax", ["nearness"], ["nearest"], axis=1),
        helper.make_node("ReduceMean", ["nearest"], ["shares"], axes=[2, 3], keepdims=0),
    ]
    weights = {
        "from": np.array([16, 16], np.int64),
        "to": np.array([48, 48], np.int64),
        "axes": np.array([2, 3], np.int64),
        "colours": 2 * colours[:, :, None, None],
        "lengths": -(colours**2).sum(axis=1),
    }
    return model_bytes(
        nodes, inputs={"image": ["n", 3, 64, 64]}, outputs={"shares": ["n", len(colours)]}, weights=weights
    )


def ground_depth(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Metres from the camera's plane to the ground seen at `rows`, as shares of the picture's height from its top."""
    down = (2 * rows - 1) * np.tan(np.radians(FIELD / 2))
    tilt = np.radians(TILT)
    depth: npt.NDArray[np.floating] = HEIGHT_METRES / (np.sin(tilt) + down * np.cos(tilt))
    return depth


def ground() -> bytes:
    """`ground_depth` of each row, (n, h, w), whatever the picture (n, 3, h, w) shows."""
    width, height = GROUND_SIZE
    table = np.repeat(ground_depth((np.arange(height) + 0.5) / height)[:, None], width, axis=1)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "table"], ["depth"]),
    ]
    weights = {"nothing": np.float32(0), "table": table.astype(np.float32)}
    picture = ["n", 3, height, width]
    return model_bytes(nodes, inputs={"image": picture}, outputs={"depth": ["n", height, width]}, weights=weights)


def colour_points() -> bytes:
    """Heatmaps (n, 3, h / 4, w / 4) of how much more red, green, blue each cell is than the mean of the other two.

    The picture is (n, 3, h, w), RGB from 0 to 1; so are the heights of the maps.
    """
    width, height = POINTS_SIZE
    excess = (1.5 * np.eye(3) - 0.5).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["cells", "excess"], ["more"]),
        helper.make_node("Relu", ["more"], ["heatmaps"]),
    ]
    return model_bytes(
        nodes,
        inputs={"image": ["n", 3, height, width]},
        outputs={"heatmaps": ["n", 3, height // 4, width // 4]},
        weights={"excess": excess[:, :, None, None]},
    )
