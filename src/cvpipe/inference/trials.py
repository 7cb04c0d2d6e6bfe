"""Trying a network that is not known yet: what it takes, what it gives, and whether an edited graph gives the same."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from cvpipe.errors import InvalidModel, ModelUnsupported
from cvpipe.frames import Image
from cvpipe.inference.batching import with_free_batch
from cvpipe.inference.cards import InputSpec
from cvpipe.inference.feeds import Feeder
from cvpipe.inference.graphs import image_input, with_size
from cvpipe.inference.likeness import trial_picture
from cvpipe.inference.sessions import told

Arrays = list[npt.NDArray[Any]]

_SCALING: Final = frozenset({"Sub", "Div", "Mul", "Add", "BatchNormalization"})
_PLAIN: Final = _SCALING | {
    "Cast",
    "Transpose",
    "Identity",
    "Split",
    "Concat",
    "Unsqueeze",
    "Reshape",
    "DequantizeLinear",
}
_FIRST: Final = 30
_RELATIVE: Final = 1e-3
"""How far a batch may be from single pictures, of the largest value: kernels add up in another order for each shape."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as the graph declares it. dims: None or a name stands for a dimension that is free."""

    name: str
    dtype: str
    dims: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a graph says of itself. inputs: without weights. last_operators: those that make the outputs.

    normalises: whether it scales or shifts its input before anything else. reverses: whether it turns the order of the
    channels round.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: dict[str, str]
    producer: str
    nodes: int
    normalises: bool
    reverses: bool
    last_operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a network gave. batch: None where it is free. rows: whether outputs have a row for each picture.

    shapes: of the outputs for one picture, without the batch dimension. seconds: of one call. low, high: smallest and
    largest value of each output. integers: whether each output is of a type of whole numbers.
    """

    batch: int | None
    rows: bool
    shapes: tuple[tuple[int, ...], ...]
    seconds: float
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    integers: tuple[bool, ...] = ()


class Trial:
    """One network in one session, on the CPU, with one thread. Raises: InvalidModel, ModelUnsupported, ..."""

    def __init__(self, raw: bytes, model: ModelProto, spec: InputSpec) -> None:
        self.image = image_input(model, spec.layout, spec.extra)
        self.spec = spec
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            raise told(error, "ONNX Runtime can't load the model") from error
        self._feeder = Feeder(self._session, self.image.name, spec)

    def run(self, images: Sequence[Image]) -> Arrays:
        """All outputs for these pictures at once."""
        try:
            outputs = self._session.run(None, self._feeder.feed(images))
        except Exception as error:  # see above
            raise told(error, "the network does not run") from error
        if not all(isinstance(output, np.ndarray) and output.dtype.kind in "fiub" for output in outputs):
            raise ModelUnsupported("wanted outputs that are tensors of numbers")
        return list(outputs)

    def outcome(self) -> Outcome:
        """What it gives for a busy picture, and whether that has rows for pictures."""
        own = self.image.batch or 1
        busy, blank = pictures(self.spec, 1)[0], np.zeros((self.spec.height, self.spec.width, 3), np.uint8)
        first = self.run([busy] * own)
        began = time.perf_counter()
        again = self.run([busy] * own)
        seconds = time.perf_counter() - began
        # What is computed from random numbers or from earlier calls is of no use here: nothing could tell it is right.
        if any(
            a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in zip(first, again, strict=True)
        ):
            raise ModelUnsupported("the network gives other answers when it sees the same picture again")
        rows = all(output.ndim > 0 and len(output) == own for output in first)
        if own == 1 and rows:
            rows = all(output.ndim > 0 and len(output) == 1 for output in self.run([blank]))
        shapes = tuple(o.shape[1:] if rows else (-1, *o.shape[1:]) for o in first)
        return Outcome(self.image.batch, rows, shapes, seconds, *_bounds(first), _integers(first))


def declared(model: ModelProto) -> Declared:
    """What the graph says of its inputs and outputs."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_port(value) for value in graph.input if value.name not in weights)
    names = {port.name for port in inputs}
    first = _first_nodes(graph, names)
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    return Declared(
        inputs=inputs,
        outputs=tuple(_port(value) for value in graph.output),
        metadata={entry.key[:100]: entry.value[:100_000] for entry in list(model.metadata_props)[:100]},
        producer=model.producer_name[:100],
        nodes=len(graph.node),
        normalises=any(node.op_type in _SCALING for node in first),
        reverses=_reverses(first),
        last_operators=tuple(made_by.get(value.name, "") for value in graph.output),
    )


def freed_batch(raw: bytes, model: ModelProto, spec: InputSpec) -> tuple[ModelProto | None, str]:
    """The model with a free batch dimension, tried; or None, and why, in words."""
    alone = Trial(raw, model, spec)
    own = alone.image.batch
    if not alone.image.batched:
        return None, "the input has no batch dimension: pictures run one at a time"
    three = pictures(spec, 3)
    if own is None:
        return None, f"the batch dimension is free in the file{_kept_apart(alone, three)}"
    expected = [alone.run([picture] * own) for picture in three]
    if any(output.ndim == 0 or len(output) != own for outputs in expected for output in outputs):
        return None, f"outputs have no row for each picture: pictures run {_count(own)} at a time"
    why = "nothing could be rewritten"
    for edited in with_free_batch(model, spec.layout, spec.extra):
        try:
            together = Trial(edited.SerializeToString(deterministic=True), edited, spec).run(three)
        except InvalidModel as error:
            why = error.message[-200:]
            continue
        apart = _apart(together, expected)
        if apart == 0:
            return edited, "made free; a batch gives what single pictures give, bit for bit"
        if apart < _RELATIVE:
            return (
                edited,
                f"made free; a batch gives what single pictures give, within {apart:.1g} of the largest value",
            )
        why = "a batch gave other answers than single pictures" if math.isfinite(apart) else "outputs lost their rows"
    return None, f"could not be made free ({why}): pictures run {_count(own)} at a time"


def fixed_size(raw: bytes, model: ModelProto, spec: InputSpec) -> tuple[ModelProto | None, str]:
    """The graph with the size of `spec` written into it, and words about it; None where it has one already.

    Raises: InvalidModel where it answers otherwise then.
    """
    free = Trial(raw, model, spec)
    if free.image.width is not None and free.image.height is not None:
        return None, f"the file takes {spec.width}x{spec.height} and nothing else"
    edited = with_size(model, spec)
    fixed = Trial(edited.SerializeToString(deterministic=True), edited, spec)
    apart = 0.0
    for picture in pictures(spec, 3):
        images = [picture] * (free.image.batch or 1)
        apart = max(apart, *map(_difference, fixed.run(images), free.run(images)))
    if apart >= _RELATIVE:
        raise InvalidModel("with its size in the graph it gives other answers; add it without", field="fix_size")
    how = f"within {apart:.1g} of the largest value" if apart else "bit for bit"
    return edited, f"{spec.width}x{spec.height} is written into the graph; same answers, {how}"


def _kept_apart(network: Trial, images: Sequence[Image]) -> str:
    """What pictures in company do, in words: an exporter may say that the batch is free where it is not."""
    try:
        apart = _apart(network.run(images), [network.run([image]) for image in images])
    except InvalidModel as error:
        return f", but it refuses several pictures ({error.message[-200:]}): they run one at a time"
    if apart < _RELATIVE:
        return "; a batch gives what single pictures give"
    return ", but a batch gave other answers than single pictures: pictures run one at a time"


def same(a: Trial, b: Trial) -> bool:
    """Whether two networks give the same, bit for bit, for a picture."""
    picture = pictures(a.spec, 1)[0]
    pairs = zip(a.run([picture] * (a.image.batch or 1)), b.run([picture] * (b.image.batch or 1)), strict=True)
    return all(x[:1].tobytes() == y[:1].tobytes() for x, y in pairs)


def pictures(spec: InputSpec, count: int) -> list[Image]:
    """Made-up pictures of the network's size, each another one."""
    return [trial_picture(spec.width, spec.height, seed=seed) for seed in range(count)]


def versions() -> dict[str, str]:
    """Of the packages that read and run graphs."""
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _apart(together: Arrays, expected: Sequence[Arrays]) -> float:
    """The largest difference of a batch from single pictures; see `_difference`."""
    worst = 0.0
    for place, output in enumerate(together):
        if output.ndim == 0 or len(output) != len(expected):
            return math.inf
        for got, outputs in zip(output, expected, strict=True):
            worst = max(worst, _difference(got, outputs[place][0]))
    return worst


def _difference(got: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """The largest difference, as a share of the largest value; infinite where it is no matter of the last digits."""
    if got.shape != wanted.shape:
        return math.inf
    if got.tobytes() == wanted.tobytes() or not got.size:
        return 0.0
    p, q = got.astype(np.float64), wanted.astype(np.float64)
    difference = np.abs(p - q).max()
    # A number of a class or a bool that changes is another answer; so is a NaN.
    if got.dtype.kind != "f" or not np.isfinite(difference):
        return math.inf
    return float(difference / max(np.abs(q).max(), 1e-12))


def _bounds(outputs: Arrays) -> tuple[tuple[float, ...], tuple[float, ...]]:
    finite = [output[np.isfinite(output)] if output.dtype.kind == "f" else output for output in outputs]
    return tuple(float(o.min()) if o.size else 0.0 for o in finite), tuple(
        float(o.max()) if o.size else 0.0 for o in finite
    )


def _integers(outputs: Arrays) -> tuple[bool, ...]:
    return tuple(output.dtype.kind in "iu" for output in outputs)


def _port(value: Any) -> Port:
    kind = value.type.tensor_type
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else (dim.dim_param[:100] or None)
        for dim in list(kind.shape.dim)[:8]
    )
    names = TensorProto.DataType
    dtype = names.Name(kind.elem_type).lower() if kind.elem_type in names.values() else "unknown"
    return Port(value.name[:200], dtype, dims)


def _first_nodes(graph: GraphProto, names: set[str]) -> list[NodeProto]:
    """The nodes that the input meets before the first convolution."""
    seen, found = set(names), []
    for node in graph.node[:_FIRST]:
        if seen & set(node.input) and node.op_type in _PLAIN:
            found.append(node)
            seen |= set(node.output)
    return found


def _reverses(first: Sequence[NodeProto]) -> bool:
    """Whether channels are split and joined again from the last to the first."""
    splits = [tuple(node.output) for node in first if node.op_type == "Split" and len(node.output) == 3]
    return any(node.op_type == "Concat" and tuple(node.input[::-1]) in splits for node in first)


def _count(number: int) -> str:
    return "one" if number == 1 else str(number)
