"""Codes that a model's file is refused with, provoked by a file, in the process that looks at it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cvpipe.errors import ModelCrashed, ModelExternalData, ModelTooComplex, ModelTooMuchMemory, ModelUnsupported
from cvpipe.modelfiles import Limits, Wish, process
from tests.fuzz import hostile
from tests.modelfiles.networks import network, write, yolox

LIMITS = Limits(memory_bytes=3 * 2**30, seconds=60)


def edited(raw: bytes, change: object, seed: int = 0) -> bytes:
    model = onnx.load_model_from_string(raw)
    change(model, random.Random(seed))  # type: ignore[operator]
    return model.SerializeToString()


def unknown_operator() -> bytes:
    model = onnx.load_model_from_string(yolox())
    model.graph.node[0].op_type, model.graph.node[0].domain = "NobodyKnows", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model.SerializeToString()


def deep() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["zero"], ["end"])], "inner", [],
        [helper.make_tensor_value_info("end", TensorProto.FLOAT, (1,))],
    )  # fmt: skip
    for level in range(9):
        node = helper.make_node("If", ["yes"], [f"end{level}"], then_branch=graph, else_branch=graph)
        out = helper.make_tensor_value_info(f"end{level}", TensorProto.FLOAT, (1,))
        graph = helper.make_graph([node], f"level{level}", [], [out])
    return network(
        [helper.make_node("If", ["yes"], ["output"], then_branch=graph, else_branch=graph)],
        inputs={"images": (1, 3, 64, 64)}, outputs={"output": (1,)},
        weights={"yes": np.array(True), "zero": np.zeros(1, np.float32)},
    )  # fmt: skip


def examine(folder: Path, raw: bytes) -> None:
    process.examine(write(folder / "m.onnx", raw), Wish(), "net", LIMITS)


def test_weights_in_other_files_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ModelExternalData):
        examine(tmp_path, edited(yolox(), hostile._external))


def test_graphs_that_are_nested_too_deep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelTooComplex, match="nested more than 4 deep"):
        examine(tmp_path, deep())


def test_an_operator_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="NobodyKnows"):
        examine(tmp_path, unknown_operator())


def test_a_tensor_of_terabytes_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ModelTooMuchMemory):
        examine(tmp_path, edited(yolox(), hostile._giant))


def test_a_process_that_dies_over_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_BOOT", "import os; os.abort()")
    with pytest.raises(ModelCrashed, match="SIGABRT"):
        examine(tmp_path, yolox())
