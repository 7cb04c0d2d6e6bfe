"""Reading and editing ONNX graphs: what is refused, and how a graph exported at one size is made to take others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from cvpipe.errors import InvalidModel, ModelExternalData, ModelTooComplex, ModelUnreadable
from cvpipe.inference.cards import InputSpec

MAX_NODES = 50_000
MAX_NESTING = 4
_STRIDES = (4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input of a network that takes pictures; None stands for a dimension that is free.

    batched: whether it has a batch dimension; `batch` is 1 where it has none.
    """

    name: str
    batch: int | None
    height: int | None
    width: int | None
    batched: bool = True


def read_graph(raw: bytes) -> ModelProto:
    """The graph in the bytes of an ONNX file.

    Raises: ModelUnreadable where it is no ONNX file; ModelExternalData where it keeps its weights in other files (those
    could be any file of the machine); ModelTooComplex where it is larger or more deeply nested than a network is.
    """
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf's, whose package has no types
        raise ModelUnreadable(f"not an ONNX file: {error}") from error
    if not model.graph.node:
        raise ModelUnreadable("not an ONNX file: it has no graph")
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ModelExternalData(
                f"the tensor {tensor.name!r} is kept in another file; save the model with all of its data in one file"
            )
    nodes = sum(1 for _ in _nodes(model.graph))
    if nodes > MAX_NODES:
        raise ModelTooComplex(f"the graph has {nodes} nodes; at most {MAX_NODES} are accepted")
    return model


def image_input(model: ModelProto, layout: str, extra: Collection[str] = ()) -> ImageInput:
    """The input for pictures: four-dimensional in `layout` (`nchw` or `nhwc`), or without the batch dimension.

    extra: names of all other inputs. Raises: InvalidModel.
    """
    weights = {tensor.name for tensor in model.graph.initializer}  # old files list their weights as inputs too
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    for name in extra:
        if name not in inputs:
            raise InvalidModel(f"the network has no input {name!r}; there is {', '.join(inputs)}", field="input.extra")
    left = [value for name, value in inputs.items() if name not in extra]
    if len(left) != 1:
        raise InvalidModel(
            f"wanted a network with one input for pictures, got {[value.name for value in left]}; "
            "name the others in input.extra"
        )
    dims = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in left[0].type.tensor_type.shape.dim
    ]
    batched = len(dims) != 3
    if not batched:
        dims.insert(layout.index("n"), 1)
    if len(dims) != 4:
        raise InvalidModel(f"wanted an input of four dimensions ({layout}), got {len(dims)}: {left[0].name}")
    batch, channels, height, width = (dims[layout.index(axis)] for axis in "nchw")
    if channels not in (3, None):
        raise InvalidModel(f"wanted an input of 3 channels ({layout}), got {dims}: {left[0].name}")
    return ImageInput(name=left[0].name, batch=batch, height=height, width=width, batched=batched)


def card_input(model: ModelProto, spec: InputSpec) -> ImageInput:
    """The input for pictures, which has to take those of a card. Raises: InvalidModel."""
    image = image_input(model, spec.layout, spec.extra)
    for name, wanted, got in (("width", spec.width, image.width), ("height", spec.height, image.height)):
        if got not in (None, wanted):
            raise InvalidModel(f"the network's {name} is {got}, the card says {wanted}", field=f"input.{name}")
    return image


def freed(model: ModelProto, layout: str, extra: Collection[str] = ()) -> ModelProto:
    """A copy of `model` whose input takes any batch, height and width; extra: names of its other inputs.

    Sizes that the exporter wrote into Reshape nodes become "the same as before" (0) for the batch and "what is left"
    (-1) for numbers of grid cells. Whether the result computes the same is for the caller to try: sizes may hide
    elsewhere.
    """
    edited = ModelProto()
    edited.CopyFrom(model)
    graph = edited.graph
    before = image_input(model, layout, extra)
    for value in graph.input:
        if value.name in extra and len(value.type.tensor_type.shape.dim) > 1:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        if value.name == before.name:
            for axis, name in (("n", "batch"), ("h", "height"), ("w", "width")):
                value.type.tensor_type.shape.dim[layout.index(axis)].dim_param = name
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    constants = _constants(graph)
    cells = _cell_counts(before)
    for index, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[1] not in constants or _allows_zero(node):
            continue
        shape = constants[node.input[1]].copy()
        if shape.ndim != 1 or not len(shape):
            continue
        if shape[0] == before.batch and len(shape) > 1:
            shape[0] = 0
        sized = [i for i in range(1, len(shape)) if shape[i] in cells]
        if len(sized) == 1 and -1 not in shape:
            shape[sized[0]] = -1
        name = f"cvpipe_shape_{index}"  # a new tensor for each node: exporters share equal ones
        graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[1] = name
    return edited


def with_size(model: ModelProto, spec: InputSpec) -> ModelProto:
    """A copy of `model` whose input takes pictures of the size of `spec` and no others; the batch stays as it is."""
    edited = ModelProto()
    edited.CopyFrom(model)
    name = image_input(model, spec.layout, spec.extra).name
    (value,) = (value for value in edited.graph.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    for axis, size in (("h", spec.height), ("w", spec.width)):
        dims[spec.layout.index(axis) - len(spec.layout) + len(dims)].dim_value = size
    # What it says of sizes further on may hold for others.
    for output in edited.graph.output:
        output.type.tensor_type.ClearField("shape")
    del edited.graph.value_info[:]
    return edited


def _cell_counts(image: ImageInput) -> frozenset[int]:
    """Numbers of grid cells that a graph made for this input may mention: by stride, and over neighbouring strides."""
    if image.height is None or image.width is None:
        return frozenset()
    counts = [
        (image.height // stride) * (image.width // stride)
        for stride in _STRIDES
        if image.height % stride == 0 and image.width % stride == 0
    ]
    sums = {sum(counts[i:j]) for i in range(len(counts)) for j in range(i + 1, len(counts) + 1)}
    return frozenset(count for count in sums if count > 16)  # smaller numbers are more likely channels


def _allows_zero(node: NodeProto) -> bool:
    return any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)


def _constants(graph: GraphProto) -> dict[str, np.ndarray]:
    """Integer constants by name."""
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.INT64}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value" and attribute.t.data_type == TensorProto.INT64:
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found


def _nodes(graph: GraphProto, depth: int = 0) -> Iterator[NodeProto]:
    """All nodes, those of nested graphs too."""
    if depth > MAX_NESTING:
        raise ModelTooComplex(f"graphs are nested more than {MAX_NESTING} deep")
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _nodes(inner, depth + 1)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All tensors that carry data, those of nested graphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in _nodes(graph):
        for attribute in node.attribute:
            yield from (
                attribute.t,
                *attribute.tensors,
                attribute.sparse_tensor.values,
                attribute.sparse_tensor.indices,
            )
            for inner in (attribute.g, *attribute.graphs):
                yield from inner.initializer
                for sparse in inner.sparse_initializer:
                    yield from (sparse.values, sparse.indices)
