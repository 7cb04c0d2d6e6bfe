"""Small networks whose answers follow from the picture, in the layouts of exporters, and pictures to ask them about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import discover
from tests.modelcards import write_card


def network(
    nodes: Sequence[onnx.NodeProto],
    *,
    picture: Sequence[Any],
    outputs: Mapping[str, Sequence[Any] | None],
    weights: Mapping[str, Any] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> bytes:
    """An ONNX file with one input `image`. outputs: their shapes, by name."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("image", dtype, picture)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        tensors,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


def pooled(width: int, height: int, *, stride: int, batch: Any = "batch", nhwc: bool = False, to: str = "") -> bytes:
    """The colours of cells of `stride` pixels: (batch, 3, h, w), or with nhwc (batch, h, w, 3) from pictures like it.

    to: `argmax`, the brightest channel of each cell, (batch, h, w); `first`: the first channel only, (batch, h, w).
    """
    h, w = height // stride, width // stride
    nodes = [
        *([helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])] if nhwc else []),
        helper.make_node(
            "AveragePool", ["planes" if nhwc else "image"], ["cells"], kernel_shape=[stride] * 2, strides=[stride] * 2
        ),
    ]
    weights: dict[str, Any] = {}
    shape: list[Any] = [batch, 3, h, w]
    if to == "argmax":
        nodes += [
            helper.make_node("ArgMax", ["cells"], ["numbers"], axis=1, keepdims=0),
            helper.make_node("Cast", ["numbers"], ["out"], to=TensorProto.FLOAT),
        ]
        shape = [batch, h, w]
    elif to == "first":
        nodes.append(helper.make_node("Gather", ["cells", "zero"], ["out"], axis=1))
        weights, shape = {"zero": np.int64(0)}, [batch, h, w]
    elif nhwc:
        nodes.append(helper.make_node("Transpose", ["cells"], ["out"], perm=[0, 2, 3, 1]))
        shape = [batch, h, w, 3]
    else:
        nodes.append(helper.make_node("Identity", ["cells"], ["out"]))
    picture = [batch, height, width, 3] if nhwc else [batch, 3, height, width]
    return network(nodes, picture=picture, outputs={"out": shape}, weights=weights)


def means(width: int, height: int, *, batch: Any = "batch") -> bytes:
    """The mean colour of the picture: (batch, 3)."""
    nodes = [helper.make_node("ReduceMean", ["image"], ["out"], axes=[2, 3], keepdims=0)]
    return network(nodes, picture=[batch, 3, height, width], outputs={"out": [batch, 3]})


def profiles(width: int, height: int, *, split: int = 2) -> bytes:
    """For each channel how bright the columns are, and the rows, at `split` places a pixel: SimCC's two outputs."""
    nodes, weights = [], {"split": np.array([1, 1, split], np.float32)}
    for name, axis in (("simcc_x", 2), ("simcc_y", 3)):
        nodes += [
            helper.make_node("ReduceMax", ["image"], [f"max_{name}"], axes=[axis], keepdims=0),
            helper.make_node("Resize", [f"max_{name}", "", "split"], [name], mode="nearest", nearest_mode="floor",
                             coordinate_transformation_mode="asymmetric"),
        ]  # fmt: skip
    outputs = {"simcc_x": ["batch", 3, width * split], "simcc_y": ["batch", 3, height * split]}
    return network(nodes, picture=["batch", 3, height, width], outputs=outputs, weights=weights)


def constant(
    table: np.ndarray, *, width: int, height: int, dtype: int = TensorProto.FLOAT, nhwc: bool = False
) -> bytes:
    """Always the same table, with a batch dimension of 1 before it."""
    picture = [1, height, width, 3] if nhwc else [1, 3, height, width]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "table"], ["out"]),
    ]
    weights = {"nothing": np.float32(0), "table": table[None].astype(np.float32)}
    return network(nodes, picture=picture, outputs={"out": [1, *table.shape]}, weights=weights, dtype=dtype)


def open_stage(folder: Path, kind: str, raw: bytes | None = None, *, card: Any = None, **options: Any) -> Any:
    """The stage `it` of a type with the model `tiny`, opened. raw, card: the model, written to the folder first."""
    if raw is not None:
        write_card(folder, raw, **({"input": {"width": 64, "height": 64}} | (card or {})))
    cls = discover()[kind]
    stage = cls(cls.Options.model_validate({"type": kind, "name": "it", "model": "tiny"} | options))
    stage.open(OnnxTools(folder, device="cpu"))
    return stage


def blobs(width: int, height: int, **places: tuple[float, float]) -> np.ndarray:
    """A black RGB picture with a soft spot in each channel named (red, green, blue), brightest at x, y."""
    picture = np.zeros((height, width, 3), np.float32)
    y, x = np.mgrid[:height, :width] + 0.5
    for channel, name in enumerate(("red", "green", "blue")):
        if name in places:
            at_x, at_y = places[name]
            picture[..., channel] = 255 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 200)
    return picture.round().astype(np.uint8)


def seen(stage: Any, pictures: Sequence[np.ndarray], upstream: View | None = None) -> list[Frame]:
    """RGB pictures of the source frame as the decoder would lay them on the stage's view, but by nearest pixels."""
    frames = []
    for number, picture in enumerate(pictures):
        source = upstream or View.of(picture.shape[1], picture.shape[0], format="rgb24")
        view = stage.view(source)
        x, y, width, height = view.content
        left, top, w, h = view.region
        rows = (np.arange(height) + 0.5) * h / height + top
        columns = (np.arange(width) + 0.5) * w / width + left
        image = np.full(view.shape, view.pad, np.uint8)
        image[y : y + height, x : x + width] = picture[rows.astype(int)][:, columns.astype(int)]
        image = np.ascontiguousarray(image[..., ::-1]) if view.format == "bgr24" else image
        image.setflags(write=False)
        frames.append(Frame(number, number, number / 10, view, image))
    return frames


def things(*boxes: Sequence[float], stage: str = "things") -> Objects:
    """Objects found before, with falling scores."""
    n = len(boxes)
    return Objects.make(
        stage=stage, box=np.array(boxes).reshape(-1, 4), score=np.linspace(0.9, 0.5, n), label=["x"] * n
    )


def records(results: Sequence[Found], found: Sequence[Objects]) -> list[dict[str, Any]]:
    """What stands in the frames' records in JSON."""
    return [
        FrameRecord(n, n, n / 10, objects=objects).with_found(result).to_dict()
        for n, (result, objects) in enumerate(zip(results, found, strict=True))
    ]


def write_small_models(folder: Path) -> None:
    """A model for each task that is not about boxes: points, classes, parts, names, vectors, far."""
    square = {"width": 64, "height": 64, "scale": 255}
    cells = pooled(64, 64, stride=4)
    names = ["red", "green", "blue"]
    for name, raw, family, task, changes in (
        ("points", cells, "heatmaps", "pose", {"labels": [], "keypoints": names, "score_threshold": 0.1}),
        ("classes", cells, "semantic-map", "semantic-segmentation", {"labels": names}),
        ("parts", cells, "multi-label-map", "human-parsing", {"labels": names}),
        ("names", means(64, 64), "classification", "classification", {"labels": names}),
        ("vectors", means(64, 64), "embedding", "embedding", {"labels": []}),
        ("far", pooled(64, 64, stride=4, to="first"), "depth-map", "depth", {"labels": []}),
    ):
        write_card(folder, raw, name=name, family=family, task=task, input=square, **changes)
