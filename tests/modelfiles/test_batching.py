"""A fixed batch dimension is made free, and single pictures and batches give the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper

from cvpipe.inference.cards import InputSpec
from cvpipe.inference.graphs import read_graph
from cvpipe.inference.trials import Trial, freed_batch, pictures
from tests.modelfiles.networks import network, table

SMALL = InputSpec(width=16, height=16)
POOL = helper.make_node("GlobalAveragePool", ["x"], ["mean"])


def pooled(*nodes: object, outputs: tuple[object, ...], opset: int = 13, **weights: np.ndarray) -> bytes:
    """A network of one picture of 16x16 that goes on from its mean, (1, 3, 1, 1)."""
    return network([POOL, *nodes], inputs={"x": (1, 3, 16, 16)}, outputs={"y": outputs}, weights=weights, opset=opset)  # type: ignore[list-item]


GRAPHS = {
    "reshape to one": pooled(helper.make_node("Reshape", ["mean", "s"], ["y"]), outputs=(1, 3), s=np.array([1, 3])),
    "reshape with what is left": pooled(
        helper.make_node("Reshape", ["mean", "s"], ["y"]), outputs=(1, 3, 1), s=np.array([1, -1, 1])
    ),
    "batch times channels": pooled(
        helper.make_node("Reshape", ["mean", "s"], ["flat"]),
        helper.make_node("Reshape", ["flat", "t"], ["y"]),
        outputs=(1, 3, 1),
        s=np.array([3, 1]),
        t=np.array([1, 3, 1]),
    ),
    "batch behind a transposition": pooled(
        helper.make_node("Reshape", ["mean", "s"], ["two"]),
        helper.make_node("Transpose", ["two"], ["turned"], perm=[1, 0]),
        helper.make_node("Reshape", ["turned", "t"], ["again"]),
        helper.make_node("Transpose", ["again"], ["y"], perm=[1, 0, 2]),
        outputs=(1, 3, 1),
        s=np.array([1, 3]),
        t=np.array([3, 1, 1]),
    ),
    "sizes of a resize": pooled(
        helper.make_node("Resize", ["x", "", "", "s"], ["y"], mode="linear"),
        outputs=(1, 3, 8, 24),
        s=np.array([1, 3, 8, 24]),
    ),
    "expand": pooled(
        helper.make_node("Expand", ["c", "s"], ["wide"]),
        helper.make_node("Concat", ["mean", "wide"], ["y"], axis=1),
        outputs=(1, 5, 1, 1),
        c=np.ones((1, 1, 1, 1), np.float32),
        s=np.array([1, 2, 1, 1]),
    ),
    "a class token": pooled(
        helper.make_node("Concat", ["token", "mean"], ["y"], axis=1),
        outputs=(1, 4, 1, 1),
        token=np.full((1, 1, 1, 1), 7, np.float32),
    ),
    "a mean over everything": pooled(
        helper.make_node("ReduceMean", ["x"], ["all"], axes=[0, 1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["mean", "all"], ["y"]),
        outputs=(1, 3, 1, 1),
    ),
    "a sum over everything, axes given as an input": pooled(
        helper.make_node("ReduceSum", ["x", "axes"], ["all"], keepdims=1),
        helper.make_node("Sub", ["mean", "all"], ["y"]),
        outputs=(1, 3, 1, 1),
        axes=np.array([0, 1, 2, 3]),
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_batch_of(name: str) -> None:
    raw = GRAPHS[name]
    edited, words = freed_batch(raw, read_graph(raw), SMALL)
    assert edited is not None, words
    assert words.startswith("made free; a batch gives what single pictures give"), words
    alone, together = Trial(raw, read_graph(raw), SMALL), Trial(edited.SerializeToString(), edited, SMALL)
    five = pictures(SMALL, 5)
    (batch,) = together.run(five)
    for row, picture in zip(batch, five, strict=True):
        np.testing.assert_allclose(row, alone.run([picture])[0][0], rtol=1e-5, atol=1e-4)
    assert edited.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_a_batch_that_can_not_be_freed_is_told() -> None:
    raw = pooled(  # pictures are mixed: each row is the mean of all
        helper.make_node("ReduceMean", ["mean"], ["y"], axes=[0], keepdims=1), outputs=(1, 3, 1, 1)
    )
    edited, words = freed_batch(raw, read_graph(raw), SMALL)
    assert edited is None
    assert words.startswith("could not be made free (")
    assert words.endswith("pictures run one at a time")


def test_a_free_batch_is_left_alone() -> None:
    raw = network([POOL], inputs={"x": ("n", 3, 16, 16)}, outputs={"mean": ("n", 3, 1, 1)})
    said = "the batch dimension is free in the file; a batch gives what single pictures give"
    assert freed_batch(raw, read_graph(raw), SMALL) == (None, said)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("Softmax", ["mean"], ["y"], axis=0), "a batch gave other answers than single pictures"),
        (helper.make_node("Reshape", ["mean", "s"], ["y"]), "it refuses several pictures"),
    ],
    ids=["mixed", "refused"],
)
def test_a_batch_that_is_free_in_name_only_is_told(node: NodeProto, said: str) -> None:
    raw = network(
        [POOL, node],
        inputs={"x": ("n", 3, 16, 16)},
        outputs={"y": ("n", 3, 1, 1)},
        weights={"s": np.array([1, 3, 1, 1])},
    )
    edited, words = freed_batch(raw, read_graph(raw), SMALL)
    assert edited is None
    assert words.startswith(f"the batch dimension is free in the file, but {said}")
    assert words.endswith("run one at a time")


def test_a_fixed_batch_of_four_is_freed() -> None:
    raw = network(
        [POOL, helper.make_node("Reshape", ["mean", "s"], ["y"])],
        inputs={"x": (4, 3, 16, 16)},
        outputs={"y": (4, 3)},
        weights={"s": np.array([4, 3])},
    )
    edited, words = freed_batch(raw, read_graph(raw), SMALL)
    assert edited is not None, words
    assert Trial(edited.SerializeToString(), edited, SMALL).run(pictures(SMALL, 3))[0].shape == (3, 3)


def test_the_graph_given_is_not_changed() -> None:
    raw = table(4, 5)
    model = read_graph(raw)
    freed_batch(raw, model, InputSpec(width=64, height=64))
    assert model.SerializeToString() == read_graph(raw).SerializeToString()


@pytest.mark.parametrize(
    ("file", "layout", "size", "exactly"),
    [
        ("yolox_nano", "nchw", (416, 416), True),
        ("fastestdet", "nchw", (352, 352), True),
        ("deeplab_v3_voc", "nhwc", (257, 257), True),
        ("pan_skin_clothes_hair", "nchw", (512, 512), False),
        ("person_reid_0288", "nhwc", (128, 256), False),
    ],
)
def test_the_batch_of_a_trained_network(
    assets: Path, file: str, layout: str, size: tuple[int, int], exactly: bool
) -> None:
    raw = (assets / "models" / f"{file}.onnx").read_bytes()
    # Sums of a batch add up in another order; with pixels as the network knows them only the last digits show it.
    content = {"width": size[0], "height": size[1], "layout": layout, "mean": 0 if exactly else 120}
    spec = InputSpec.model_validate(content | {"scale": 57 if layout == "nchw" and not exactly else 1})
    edited, words = freed_batch(raw, read_graph(raw), spec)
    assert edited is not None, words
    assert words.endswith("bit for bit") == exactly, words
    if not exactly:
        assert float(words.split("within ")[1].split()[0]) < 1e-5
