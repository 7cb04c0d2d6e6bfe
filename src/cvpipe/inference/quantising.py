"""Networks in 8-bit integers, for CPUs: static, QDQ form, with the ranges that activations have on real pictures."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, version_converter

from cvpipe.errors import InvalidModel
from cvpipe.inference.feeds import Feed
from cvpipe.inference.graphs import read_graph

logger = logging.getLogger(__name__)

_WEIGHTY: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_OPSET: Final = 13  # the first in which each channel may have a scale of its own
_STEM: Final = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is quantised. name: in words. excluded: names of the operators that keep 32 bits."""

    name: str
    excluded: tuple[str, ...]


class Quantiser:
    """A network whose activations' ranges are known, ready to be quantised in several ways."""

    def __init__(self, raw: bytes, feeds: Iterable[Feed]) -> None:
        """raw: an ONNX file of 32-bit floats. feeds: its inputs for pictures like those of jobs.

        Raises: InvalidModel where the network can't be quantised at all.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="cvpipe-quantise-")
        self._prepared = Path(self._folder.name) / "prepared.onnx"
        try:
            with _quiet():
                self._per_channel = self._prepare(raw)
                self._ranges = self._calibrated(feeds)
        except InvalidModel:
            raise
        except Exception as error:  # the quantiser's own, of many kinds
            raise InvalidModel(f"the network can't be quantised: {error}", field="model") from error

    def close(self) -> None:
        """Remove what lies on disk."""
        self._folder.cleanup()

    def recipes(self) -> list[Recipe]:
        """What may be tried, the most thorough first: all; then less and less of the tail and of the stem.

        What comes after the last convolutions puts values of very different size in one tensor; the first ones see
        values up to 255, and what they lose is lost for all that follow.
        """
        graph = onnx.load(str(self._prepared)).graph
        tail = _tail(graph.node, [value.name for value in graph.output])
        weighty = [place for place, node in enumerate(graph.node) if node.op_type in _WEIGHTY]
        found = [Recipe("all operators", ())]
        if tail:
            found.append(Recipe(f"all but the last {len(tail)} operators", tuple(tail)))
        for count in sorted({_STEM, max(_STEM, len(weighty) // 10), max(_STEM, len(weighty) // 2)}):
            if count < len(weighty):
                stem = [node.name for node in graph.node[: weighty[count]]]
                name = f"all but the first {count} convolutions and the last {len(tail)} operators"
                found.append(Recipe(name, tuple(dict.fromkeys([*stem, *tail]))))
        return found

    def quantised(self, recipe: Recipe) -> bytes:
        """The network as an ONNX file. Raises: InvalidModel."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

        try:
            with _quiet():
                # Weights of 7 bits (reduce_range) never overflow without VNNI; which loses less is undecided.
                quantizer = QDQQuantizer(
                    load_model_with_shape_infer(self._prepared), self._per_channel, False, QuantType.QInt8,
                    QuantType.QUInt8, self._ranges, [], list(recipe.excluded), _operators(), {},
                )  # fmt: skip
                quantizer.quantize_model()
                made: ModelProto = quantizer.model.model
                return made.SerializeToString()
        except Exception as error:  # the quantiser's own, of many kinds
            raise InvalidModel(f"the network can't be quantised: {error}", field="model") from error

    def _prepare(self, raw: bytes) -> bool:
        """Write the graph with shapes and without what can be computed now; whether channels may have scales."""
        from onnxruntime.quantization.shape_inference import quant_pre_process

        model = read_graph(raw)
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if opset < _OPSET:
            try:
                model, opset = version_converter.convert_version(model, _OPSET), _OPSET
            except Exception as error:  # noqa: BLE001 - the converter's own; one scale for all channels does as well
                logger.info("one scale for all channels: %s", error)
        plain = self._prepared.with_name("plain.onnx")
        plain.write_bytes(model.SerializeToString())
        quant_pre_process(str(plain), str(self._prepared), skip_symbolic_shape=True)
        prepared = onnx.load(str(self._prepared))
        for place, node in enumerate(prepared.graph.node):  # exclusion is by name
            node.name = node.name or f"cvpipe_{node.op_type}_{place}"
        onnx.save(prepared, str(self._prepared))
        return opset >= _OPSET

    def _calibrated(self, feeds: Iterable[Feed]) -> Any:
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator

        calibrator = create_calibrator(
            self._prepared,
            _operators(),
            augmented_model_path=str(self._prepared.with_name("augmented.onnx")),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={},
        )
        calibrator.collect_data(_Reader(feeds))
        return calibrator.compute_data()


class _Reader:
    """Feeds as the calibrator asks for them."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def __iter__(self) -> Iterator[Feed]:
        return self._feeds

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _operators() -> list[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry})


def _tail(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[str]:
    """Names of the operators after the last convolutions, on each way to an output."""
    makers = {name: node for node in nodes for name in node.output}
    found: dict[str, None] = {}
    todo = list(outputs)
    while todo:
        node = makers.get(todo.pop())
        if node is None or node.name in found or node.op_type in _WEIGHTY:
            continue
        found[node.name] = None
        todo += node.input
    return list(found)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser prints, and logs to the root logger."""
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        onnxruntime.set_default_logger_severity(2)
        logging.disable(logging.NOTSET)
