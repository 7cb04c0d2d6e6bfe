"""From the trained network to the files that cvpipe ships: ONNX with float16 weights, and the card."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from examples.demo.layers import BONES, JOINTS, LABELS
from training.facts import BATCH, MODEL_VERSION, NAME, SEED, SIDES, SIZE, STEPS
from training.network import Drawn
from training.scenes import VERSION, fingerprint

_LARGE = 256  # numbers; smaller tensors, biases among them, stay float32


def write_model(network: Drawn, folder: Path, *, steps: int = STEPS) -> None:
    """Write the ONNX file and its card into `folder`."""
    raw = to_onnx(network, {"steps": str(steps)})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.onnx").write_bytes(raw)
    text = yaml.safe_dump(card(raw), sort_keys=False, width=110, default_flow_style=None)
    (folder / "model.yaml").write_text(text, encoding="utf-8")


def to_onnx(network: Drawn, facts: dict[str, str]) -> bytes:
    """The network as an ONNX file: any batch, any size divisible by 32. facts: what the file is to say of itself."""
    network = network.eval().to(memory_format=torch.contiguous_format)
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 64, 96),),
        buffer,
        dynamo=False,
        opset_version=17,
        input_names=["picture"],
        output_names=["cells", "prototypes"],
        dynamic_axes={
            "picture": {0: "n", 2: "height", 3: "width"},
            "cells": {0: "n", 1: "cells"},
            "prototypes": {0: "n", 2: "rows", 3: "columns"},
        },
    )
    model = onnx.load_from_string(buffer.getvalue())
    _halve(model)
    own = {
        "scenes": str(VERSION),
        "fingerprint": " ".join(str(value) for value in fingerprint()),
        "seed": str(SEED),
        "batch": str(BATCH),
        "sides": " ".join(str(side) for side in SIDES),
        "torch": torch.__version__,
    }
    helper.set_model_props(model, own | facts)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def card(raw: bytes) -> dict[str, Any]:
    """The content of the card for the ONNX file `raw`."""
    return {
        "name": NAME,
        "version": MODEL_VERSION,
        "task": "instance-segmentation",
        "family": "drawn",
        "file": f"{NAME}.onnx",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "input": {"width": SIZE, "height": SIZE, "color": "rgb"},
        "labels": list(LABELS),
        "keypoints": list(JOINTS),
        "skeleton": [list(bone) for bone in BONES],
        "options": {"jointed": ["person"]},
        "score_threshold": 0.3,
        "iou_threshold": 0.6,
        "licence": "Apache-2.0",
        "source": (
            "Trained from scratch by `python -m training` of cvpipe on drawn scenes alone: cartoon people, dogs and "
            "cars. It is there to try cvpipe out and to test it, and sees nothing of use in real video."
        ),
    }


def _halve(model: onnx.ModelProto) -> None:
    """Store large weights as float16; they become float32 again when the file is loaded."""
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < _LARGE:
            continue
        name, values = weight.name, numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
