"""Making the batch dimension of a graph free where its exporter wrote a number there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cvpipe.inference.graphs import image_input

Ints = npt.NDArray[np.int64]

_LARGEST = 2**20
"""Constants of more numbers than this are weights; none of them stands for a batch."""
_SLICE_WITH_INPUTS = 10
_PREFIX = "cvpipe_batch"


@dataclass(slots=True)
class _Rewriter:
    """Edits one graph. batch: the number to get rid of. source: name of the input that tells the batch's size."""

    graph: GraphProto
    batch: int
    source: str
    follow_ones: bool
    constants: dict[str, TensorProto] = field(default_factory=dict)
    added: list[NodeProto] = field(default_factory=list)
    made: int = 0

    def name(self) -> str:
        self.made += 1
        return f"{_PREFIX}_{self.made}"

    def constant(self, values: Ints) -> str:
        """A new constant: exporters share equal ones, so that none may be changed in place."""
        name = self.name()
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def shape_of(self, name: str) -> Ints | None:
        """A constant list of whole numbers; None where it is computed."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type != TensorProto.INT64 or len(tensor.dims) != 1 or tensor.dims[0] < 1:
            return None
        return numpy_helper.to_array(tensor)

    def batched(self, rest: Ints) -> str:
        """Name of a shape that is the batch, then `rest`; computed by nodes put first in the graph."""
        if not self.added:
            first = self.constant(np.array([0], np.int64)), self.constant(np.array([1], np.int64))
            self.added.append(helper.make_node("Shape", [self.source], [f"{_PREFIX}_shape"]))
            self.added.append(helper.make_node("Slice", [f"{_PREFIX}_shape", *first], [f"{_PREFIX}_size"]))
        name = self.name()
        self.added.append(helper.make_node("Concat", [f"{_PREFIX}_size", self.constant(rest)], [name], axis=0))
        return name


def with_free_batch(model: ModelProto, layout: str, extra: Collection[str] = ()) -> Iterator[ModelProto]:
    """Copies of `model` whose batch dimension is free, the likeliest first. Height and width stay as they are.

    The sizes that an exporter wrote into shapes of Reshape, into sizes of Resize, into Expand, ConstantOfShape and
    Tile, and constants that are joined to pictures (Concat), follow the batch; means over all of a tensor become means
    over each picture. Whether a copy computes the same is for the caller to
    try. Raises: InvalidModel where there is no one input for pictures.
    """
    before = image_input(model, layout, extra)
    if before.batch is None or not before.batched:
        return
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for follow_ones in (False, True):
        edited = ModelProto()
        edited.CopyFrom(model)
        graph = edited.graph
        for value in graph.input:
            dims = value.type.tensor_type.shape.dim
            if value.name == before.name or (value.name in extra and len(dims) > 1):
                dims[0].dim_param = "batch"
        for value in graph.output:
            dims = value.type.tensor_type.shape.dim
            if dims and dims[0].dim_value == before.batch:
                dims[0].dim_param = "batch"
        del graph.value_info[:]
        rewriter = _Rewriter(graph, before.batch, before.name, follow_ones, _constants(graph))
        with_slices = versions.get("", versions.get("ai.onnx", 1)) >= _SLICE_WITH_INPUTS
        for node in graph.node:
            _rewrite(rewriter, node, with_slices=with_slices)
        nodes = [*rewriter.added, *graph.node]
        if rewriter.added:
            del graph.node[:]
            graph.node.extend(nodes)
        yield edited


def _rewrite(edit: _Rewriter, node: NodeProto, *, with_slices: bool) -> None:
    """Let one node follow the batch. with_slices: whether nodes that compute the batch's size may be added."""
    if node.op_type == "Reshape" and len(node.input) > 1:
        shape = edit.shape_of(node.input[1])
        if shape is not None and not any(a.name == "allowzero" and a.i for a in node.attribute):
            free = _free_shape(shape.copy(), edit.batch, follow_ones=edit.follow_ones)
            node.input[1] = edit.constant(free)
        return
    if node.op_type.startswith("Reduce"):
        _keep_apart(edit, node)
        return
    if not with_slices:
        return
    if node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
        sizes = edit.shape_of(node.input[3])
        if sizes is not None and sizes[0] == edit.batch:
            node.input[3] = edit.batched(sizes[1:])
    elif node.op_type in ("Expand", "ConstantOfShape"):
        place = 1 if node.op_type == "Expand" else 0
        shape = edit.shape_of(node.input[place])
        if shape is not None and len(shape) > 1 and shape[0] == edit.batch:
            node.input[place] = edit.batched(shape[1:])
    elif node.op_type == "Tile" and node.input[0] in edit.constants:
        repeats = edit.shape_of(node.input[1])
        if repeats is not None and len(repeats) > 1 and repeats[0] == edit.batch:
            node.input[1] = edit.batched(repeats[1:])
    elif node.op_type == "Concat":
        _widen_constants(edit, node)


def _keep_apart(edit: _Rewriter, node: NodeProto) -> None:
    """Take the batch out of what is averaged over: with one picture it made no difference, with two it mixes them."""
    if any(a.name == "keepdims" and not a.i for a in node.attribute):
        return
    for attribute in node.attribute:
        if attribute.name == "axes" and 0 in attribute.ints and len(attribute.ints) > 1:
            rest = [axis for axis in attribute.ints if axis != 0]
            del attribute.ints[:]
            attribute.ints.extend(rest)
    axes = edit.shape_of(node.input[1]) if len(node.input) > 1 else None
    if axes is not None and 0 in axes and len(axes) > 1:
        node.input[1] = edit.constant(axes[axes != 0])


def _widen_constants(edit: _Rewriter, node: NodeProto) -> None:
    """Repeat constants that are joined to each picture, such as a transformer's class token."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if axis == 0 or all(name in edit.constants for name in node.input):
        return
    for place, name in enumerate(node.input):
        tensor = edit.constants.get(name)
        if tensor is None or len(tensor.dims) < 2 or tensor.dims[0] != edit.batch or edit.batch != 1:
            continue
        if axis % len(tensor.dims) == 0:
            continue
        wide = edit.name()
        edit.added.append(helper.make_node("Expand", [name, edit.batched(np.array(tensor.dims[1:], np.int64))], [wide]))
        node.input[place] = wide


def _free_shape(shape: Ints, batch: int, *, follow_ones: bool) -> Ints:
    """A shape of Reshape without the batch's number: 0 stands for the same as before, -1 for what is left."""
    if -1 in shape:
        if len(shape) > 1 and shape[0] == batch:
            shape[0] = 0
        return shape
    # The batch comes first or, where a transposition went before, at the first number like it; it may be multiplied by
    # a number of channels, which -1 covers too.
    places = np.flatnonzero(shape == batch) if follow_ones else np.zeros(0, np.int64)
    shape[int(places[0]) if len(places) else 0] = -1
    return shape


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Constants by name, weights left out by their size."""
    found = {t.name: t for t in graph.initializer if np.prod(t.dims, dtype=np.float64) <= _LARGEST}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value" and np.prod(attribute.t.dims, dtype=np.float64) <= _LARGEST:
                    found[node.output[0]] = attribute.t
    return found
