"""Moving into a graph what is done to pixels before it, and to values behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cvpipe.errors import InvalidModel
from cvpipe.inference.cards import InputSpec
from cvpipe.inference.graphs import image_input

PICTURES = "cvpipe_pictures"
"""Name of the new input: uint8 (batch, height, width, 3), in the card's order of colours."""

PLACES = "cvpipe_places"
"""Name of the new output: whole numbers, with a batch dimension."""

_LAYOUT = "nhwc"
_BYTE = 256


def with_pixels_in(model: ModelProto, spec: InputSpec) -> tuple[ModelProto, InputSpec]:
    """A copy of `model` that takes pixels as they are, and what its card says of its input then.

    The graph does what `cvpipe.inference.feeds.to_tensor` does, in the same order and in float32, so that nothing
    changes in the last digit. Raises: InvalidModel where the input is no floating-point tensor with a batch dimension.
    """
    before = image_input(model, spec.layout, spec.extra)
    edited = ModelProto()
    edited.CopyFrom(model)
    graph = edited.graph
    place = next(i for i, value in enumerate(graph.input) if value.name == before.name)
    old = graph.input[place]
    kind = old.type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16) or not before.batched:
        raise InvalidModel("only an input of float32 or float16 with a batch dimension can be made to take pixels")
    sizes = [before.batch or "batch", before.height or "height", before.width or "width", 3]
    new = helper.make_tensor_value_info(PICTURES, TensorProto.UINT8, sizes)
    nodes: list[NodeProto] = [helper.make_node("Cast", [PICTURES], [f"{PICTURES}_cast"], to=TensorProto.FLOAT)]
    by_channel = (1, 3, 1, 1) if spec.layout == "nchw" else (1, 1, 1, 3)

    def then(operator: str, *inputs: str, **attributes: Any) -> None:
        nodes.append(
            helper.make_node(operator, [nodes[-1].output[0], *inputs], [f"{PICTURES}_{operator.lower()}"], **attributes)
        )

    def weights(name: str, values: tuple[float, ...]) -> str:
        graph.initializer.append(
            numpy_helper.from_array(np.array(values, np.float32).reshape(by_channel), f"{PICTURES}_{name}")
        )
        return f"{PICTURES}_{name}"

    if spec.layout == "nchw":
        then("Transpose", perm=[0, 3, 1, 2])
    if any(spec.mean):
        then("Sub", weights("mean", spec.mean))
    if any(scale != 1 for scale in spec.scale):
        then("Div", weights("scale", spec.scale))
    if kind == TensorProto.FLOAT16:
        then("Cast", to=TensorProto.FLOAT16)
        nodes[-1].output[0] = f"{PICTURES}_half"
    nodes[-1].output[0] = before.name
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    old.CopyFrom(new)
    plain = spec.model_copy(update={"layout": _LAYOUT, "mean": (0.0, 0.0, 0.0), "scale": (1.0, 1.0, 1.0)})
    return edited, plain


def with_places_out(model: ModelProto, *, output: int, axis: int, count: int) -> ModelProto:
    """A copy of `model` whose only output tells where along an axis an output's highest value is, as `argmax` does.

    output: its number. axis: without the batch dimension; `count` values lie along it. The places are uint8, or int32
    where there are more. Raises: InvalidModel where the output is not of float32.
    """
    edited = ModelProto()
    edited.CopyFrom(model)
    graph = edited.graph
    values = graph.output[output]
    if values.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise InvalidModel("only of an output of float32 can the graph tell the places")
    kind = TensorProto.UINT8 if count <= _BYTE else TensorProto.INT32
    graph.node.append(helper.make_node("ArgMax", [values.name], [f"{PLACES}_wide"], axis=axis + 1, keepdims=0))
    graph.node.append(helper.make_node("Cast", [f"{PLACES}_wide"], [PLACES], to=kind))
    told = helper.make_tensor_value_info(PLACES, kind, None)
    dims = list(values.type.tensor_type.shape.dim)
    if len(dims) > axis + 1:
        told.type.tensor_type.shape.dim.extend([*dims[: axis + 1], *dims[axis + 2 :]])
    del graph.output[:]
    graph.output.append(told)
    return edited
