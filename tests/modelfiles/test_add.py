"""Adding models: what is proposed, what is kept, and under which version."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from cvpipe.errors import InvalidModel, ModelUnrecognised, NotFound, TooLarge
from cvpipe.frames import View
from cvpipe.inference import OnnxTools, find_card, trials
from cvpipe.inference.labels import COCO, VOC
from cvpipe.modelfiles import Limits, Wish, add_model, check, examine, process, remove
from cvpipe.modelfiles.found import Found
from tests.modelfiles.networks import cells, network, table, ultralytics, write, yolox

LIMITS = Limits(memory_bytes=3 * 2**30, seconds=60)


@pytest.fixture(autouse=True)
def in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files in this process, but for tests marked otherwise: starting another one takes a second."""
    if request.node.get_closest_marker("real_process") is not None:
        return

    def looked_at(file: Path, wish: Wish, name: str, limits: Limits) -> tuple[Found, bytes | None]:
        found, kept = examine.examine(file.read_bytes(), wish, name)
        return Found.model_validate(found.model_dump(mode="json")), kept if found.edited else None

    monkeypatch.setattr(process, "examine", looked_at)


def add(folder: Path, raw: bytes, name: str = "net", **wish: Any) -> Any:
    return add_model(write(folder / f"{name}.onnx", raw), Wish(**wish), folder / "models", LIMITS)


@pytest.mark.real_process
def test_a_file_becomes_a_model_that_runs(tmp_path: Path) -> None:
    added = add(tmp_path, yolox(), labels="cat,dog,bird", licence="MIT", score_threshold=0.4)
    card = find_card(tmp_path / "models", "net")
    assert (added.new, added.card.ref, card.ref) == (True, "net@1", "net@1")
    assert card.path == tmp_path / "models" / "net" / "1" / "net.onnx"
    assert hashlib.sha256(card.read()).hexdigest() == card.sha256
    assert card.made_from == hashlib.sha256(yolox()).hexdigest()  # for the batch was made free
    assert (card.family, card.task, card.labels) == ("yolox", "detection", ("cat", "dog", "bird"))
    assert (card.licence, card.score_threshold) == ("MIT", 0.4)
    spec = card.input
    assert (spec.width, spec.height, spec.color, spec.resize, spec.anchor) == (64, 64, "bgr", "letterbox", "top-left")
    assert added.found.why == f"one output of {cells()} rows, the cells of strides 8, 16 and 32, by 5 + 3 columns"
    assert "batch: made free; a batch gives what single pictures give, bit for bit" in added.found.notes
    made = OnnxTools(tmp_path / "models", device="cpu").network("net")
    assert made.output_shapes == ((cells(), 8),)
    assert made.input_view(View.of(64, 64)).shape == (64, 64, 3)
    assert list((tmp_path / "models" / ".incoming").iterdir()) == []


def test_the_same_file_again_is_no_error_and_another_one_is_the_next_version(tmp_path: Path) -> None:
    first, again = add(tmp_path, yolox()), add(tmp_path, yolox())
    assert (first.new, again.new, again.card) == (True, False, first.card)
    other = add(tmp_path, yolox(4))
    assert (other.new, other.card.ref) == (True, "net@2")
    assert add(tmp_path, yolox()).card.ref == "net@1"
    relabelled = add(tmp_path, yolox(), labels="a,b,c")
    assert (relabelled.new, relabelled.card.ref, relabelled.card.sha256) == (True, "net@3", first.card.sha256)


def test_what_lies_in_the_folder_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "models" / "net" / "4").mkdir(parents=True)
    (tmp_path / "models" / "net" / "4" / "note.txt").write_text("mine")
    assert add(tmp_path, yolox()).card.ref == "net@5"
    assert [path.name for path in (tmp_path / "models" / "net" / "4").iterdir()] == ["note.txt"]


def test_classes_named_in_the_file_are_taken(tmp_path: Path) -> None:
    named = ultralytics(3, metadata={"names": "{0: 'cat', 1: 'dog', 2: 'bird'}", "task": "detect"})
    added = add(tmp_path, named)
    assert added.card.labels == ("cat", "dog", "bird")
    assert "labels: 3, named in the file" in added.found.notes
    assert added.card.input.scale == (255.0, 255.0, 255.0)
    assert add(tmp_path, ultralytics(), name="unnamed").card.labels == ("class 0", "class 1", "class 2")
    many = table(4 + 80, cells(128), size=128)
    assert add(tmp_path, many, name="many").card.labels == COCO


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for more in ({}, {"family": "yolox"}):
        with pytest.raises(
            InvalidModel, match="as yolox, this network tells 3 classes apart, and 2 labels came"
        ) as caught:
            add(tmp_path, yolox(), labels="cat,dog", **more)
        assert caught.value.field == "labels"


def test_a_family_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no family 'yolo'; did you mean 'yolox'"):
        add(tmp_path, yolox(), family="yolo")


def test_outputs_that_nobody_reads_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnrecognised, match=r"no family reads these outputs: output \[5, 5\]"):
        add(tmp_path, table(5, 5))


@pytest.mark.parametrize(
    ("layout", "normal"),
    [
        ("nchw", {"mean": (123.675, 116.28, 103.53), "scale": (58.395, 57.12, 57.375)}),
        ("nhwc", {"mean": 127.5, "scale": 127.5}),
        ("nchw", {}),
    ],
    ids=["imagenet", "signed, nhwc", "bytes"],
)
def test_pixels_go_in_as_they_are_and_the_answers_are_the_same_bit_for_bit(
    tmp_path: Path, layout: str, normal: dict[str, Any]
) -> None:
    shape = (1, 3, 64, 64) if layout == "nchw" else (1, 64, 64, 3)
    axes = [2, 3] if layout == "nchw" else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("Gemm", ["mean", "w"], ["vector"]),
    ]
    weights = {"w": np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32)}
    raw = network(nodes, inputs={"images": shape}, outputs={"vector": (1, 16)}, weights=weights)
    plain = add(tmp_path, raw, "plain", family="embedding", **normal)
    fused = add(tmp_path, raw, "fused", family="embedding", fuse=True, **normal)
    spec = fused.card.input
    assert (spec.layout, spec.mean, spec.scale) == ("nhwc", (0, 0, 0), (1, 1, 1))
    port = onnx.load(fused.card.path).graph.input[0]
    assert port.type.tensor_type.elem_type == TensorProto.UINT8
    tools = OnnxTools(tmp_path / "models", device="cpu")
    images = list(np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8))
    outside, inside = (tools.network(name).run(images) for name in ("plain", "fused"))
    assert [a[0].tobytes() for a in outside] == [b[0].tobytes() for b in inside]
    assert plain.card.sha256 != fused.card.sha256


def maps(classes: int, layout: str, *, dtype: int = TensorProto.FLOAT) -> bytes:
    """A network with a value for each class and cell, and a second output that nobody reads."""
    rng = np.random.default_rng(4)
    weights = {"w": rng.integers(-2, 3, (classes, 3, 1, 1)).astype(np.float32), "b": np.zeros(classes, np.float32)}
    shape = (1, classes, 16, 16) if layout == "nchw" else (1, 16, 16, classes)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["cells", "w", "b"], ["values"]),
        helper.make_node("Transpose", ["values"], ["laid"], perm=[0, 1, 2, 3] if layout == "nchw" else [0, 2, 3, 1]),
        helper.make_node("Cast", ["laid"], ["map"], to=dtype),
        helper.make_node("GlobalAveragePool", ["images"], ["aux"]),
    ]
    raw = network(
        nodes, inputs={"images": (1, 3, 64, 64)}, outputs={"map": shape, "aux": (1, 3, 1, 1)}, weights=weights
    )
    model = onnx.load_model_from_string(raw)
    model.graph.output[0].type.tensor_type.elem_type = dtype
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("layout", "classes", "dtype"), [("nchw", 5, np.uint8), ("nhwc", 5, np.uint8), ("nchw", 300, np.int32)]
)
def test_a_network_of_maps_tells_the_label_of_each_cell_by_itself(
    tmp_path: Path, layout: str, classes: int, dtype: type[np.generic]
) -> None:
    raw = maps(classes, layout)
    labels = ",".join(f"label {i}" for i in range(classes))
    added = add(tmp_path, raw, family="semantic-map", labels=labels, color="rgb", mean=0, scale=1)
    assert (
        f"labels: the graph tells the highest of {classes} values for each cell by itself; the same labels"
        in added.found.notes
    )
    assert added.card.options == {"output": 0, "layout": "classes"}
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    picture[:32] = 0  # all classes are equal there: the first one wins
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    values = session.run(None, {"images": picture.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    tools = OnnxTools(tmp_path / "models", device="cpu")
    outputs = tools.network("net").run([picture, picture[::-1]])
    assert [(len(output), output[0].shape, output[0].dtype) for output in outputs] == [(1, (16, 16), dtype)] * 2
    assert np.array_equal(outputs[0][0], values[0].argmax(axis=0 if layout == "nchw" else 2))
    assert (outputs[0][0][:8] == 0).all()


def test_where_the_graph_cannot_tell_labels_it_is_said_and_all_values_are_read(tmp_path: Path) -> None:
    added = add(tmp_path, maps(5, "nchw", dtype=TensorProto.DOUBLE), family="semantic-map", labels="a,b,c,d,e")
    why = "only of an output of float32 can the graph tell the places"
    assert f"labels: the highest of 5 values is looked for outside of the graph: {why}" in added.found.notes
    assert added.card.options == {}
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    (outputs,) = OnnxTools(tmp_path / "models", device="cpu").network("net").run([picture])
    assert [output.shape for output in outputs] == [(5, 16, 16), (3, 1, 1)]


def test_a_size_that_the_file_leaves_open_can_be_given(tmp_path: Path) -> None:
    pool = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    raw = network([pool], inputs={"x": ("n", 3, "h", "w")}, outputs={"y": ("n", 3, 1, 1)})
    assert add(tmp_path, raw, family="embedding").card.input.width == 640
    card = add(tmp_path, raw, family="embedding", width=96, height=32).card
    assert (card.input.width, card.input.height, card.version) == (96, 32, "2")
    with pytest.raises(InvalidModel, match="the network's width is 64; it can't be 96"):
        add(tmp_path, yolox(), width=96, height=32)


def cells_of_any_size() -> bytes:
    """A detector in YOLOX's layout for one class, that takes pictures of any size."""
    weights = {"w": np.random.default_rng(3).normal(0, 0.01, (6, 3, 8, 8)).astype(np.float32), "all": [1, 6, -1]}
    nodes = [helper.make_node("Conv", ["images", "w"], ["c8"], kernel_shape=[8, 8], strides=[8, 8])]
    for stride in (16, 32):
        pool = {"kernel_shape": [stride // 8] * 2, "strides": [stride // 8] * 2}
        nodes.append(helper.make_node("AveragePool", ["c8"], [f"c{stride}"], **pool))
    nodes += [helper.make_node("Reshape", [f"c{stride}", "all"], [f"r{stride}"]) for stride in (8, 16, 32)]
    nodes.append(helper.make_node("Concat", ["r8", "r16", "r32"], ["rows"], axis=2))
    nodes.append(helper.make_node("Transpose", ["rows"], ["output"], perm=[0, 2, 1]))
    return network(nodes, inputs={"images": (1, 3, "h", "w")}, outputs={"output": (1, "cells", 6)}, weights=weights)


@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "fused"])
def test_a_size_is_written_into_the_graph_where_that_is_asked(tmp_path: Path, fuse: bool) -> None:
    raw, size = cells_of_any_size(), {"width": 128, "height": 96}
    free = add(tmp_path, raw, "free", labels="thing", **size)
    added = add(tmp_path, raw, "fixed", labels="thing", fix_size=True, fuse=fuse, **size)
    assert "size: 128x96 is written into the graph; same answers, bit for bit" in added.found.notes
    dims = [
        dim.dim_value or dim.dim_param for dim in onnx.load(added.card.path).graph.input[0].type.tensor_type.shape.dim
    ]
    assert sorted(map(str, dims[1:])) == ["128", "3", "96"]
    assert dims[0] not in {0, 1}, "the batch stays free"
    tools = OnnxTools(tmp_path / "models", device="cpu")
    images = list(np.random.default_rng(2).integers(0, 256, (3, 96, 128, 3), np.uint8))
    outside, inside = (tools.network(name).run(images) for name in ("free", "fixed"))
    assert [a[0].tobytes() for a in outside] == [b[0].tobytes() for b in inside]
    wide = View.of(640, 160)
    views = [tools.network(name).input_view(wide) for name in ("free", "fixed")]
    assert [(view.width, view.height) for view in views] == [(128, 32), (128, 96)]
    assert (free.card.rectangular, added.card.rectangular) == (True, False)


def test_a_file_of_one_size_has_its_size_already(tmp_path: Path) -> None:
    added = add(tmp_path, yolox(), fix_size=True)
    assert "size: the file takes 64x64 and nothing else" in added.found.notes
    assert not added.card.rectangular


def test_a_size_that_changes_the_answers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = network(
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[2, 3])],
        inputs={"x": ("n", 3, 64, 64)},
        outputs={"y": ("n", 3, 1, 1)},
    )
    monkeypatch.setattr(trials, "with_size", lambda *_: onnx.load_model_from_string(other))
    pool = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    raw = network([pool], inputs={"x": ("n", 3, "h", "w")}, outputs={"y": ("n", 3, 1, 1)})
    with pytest.raises(InvalidModel, match="it gives other answers; add it without") as refused:
        add(tmp_path, raw, family="embedding", width=64, height=64, fix_size=True)
    assert refused.value.field == "fix_size"
    assert not (tmp_path / "models" / "net").exists()


def test_models_are_taken_away_by_version_or_all_at_once(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for classes in (2, 3, 4):
        add(tmp_path, yolox(classes))
    assert remove(models, "net@2") == ["net@2"]
    assert find_card(models, "net").ref == "net@3"
    assert not (models / "net" / "2").exists()
    with pytest.raises(NotFound, match="no model 'net@2'; did you mean"):
        remove(models, "net@2")
    assert remove(models, "net") == ["net@1", "net@3"]
    assert not (models / "net").exists()


def test_a_check_stops_at_the_first_thing_that_is_wrong(tmp_path: Path) -> None:
    card = add(tmp_path, yolox()).card
    steps = check(card.path, card, LIMITS)
    assert [(step.what, step.ok) for step in steps] == [
        ("sha256", True), ("graph", True), ("trial run", True), ("family", True),
    ]  # fmt: skip
    steps = check(card.path, card.model_copy(update={"labels": ("one",)}), LIMITS)
    assert (steps[-1].what, steps[-1].ok) == ("family", False)
    assert steps[-1].words.startswith("invalid_model: model net@1: yolox with 1 labels")
    card.path.write_bytes(b"not a network")
    (step,) = check(card.path, card, LIMITS)
    assert (step.what, step.ok) == ("sha256", False)


@pytest.mark.real_process
def test_a_file_over_the_limit_is_not_looked_at(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="at most 100 are accepted"):
        add_model(write(tmp_path / "n.onnx", yolox()), Wish(), tmp_path, Limits(max_bytes=100))


@pytest.mark.parametrize(
    ("file", "wish", "family", "said"),
    [
        ("yolox_nano", {}, "yolox", {"task": "detection", "labels": COCO, "color": "bgr"}),
        ("fastestdet", {}, "fastestdet", {"task": "detection", "labels": COCO, "resize": "stretch"}),
        ("yunet_n_dynamic", {}, "yunet", {"task": "faces", "labels": ("face",), "color": "bgr"}),
        ("deeplab_v3_voc", {}, "semantic-map", {"task": "semantic-segmentation", "labels": VOC, "scale": (127.5,) * 3}),
        (
            "pan_skin_clothes_hair",
            {"labels": "skin,clothes,hair"},
            "multi-label-map",
            {"task": "human-parsing", "labels": ("skin", "clothes", "hair"), "resize": "letterbox"},
        ),
        # Its graph turns channels round and normalises; its batch is made free although it averages over everything.
        ("person_reid_0288", {}, "embedding", {"task": "embedding", "labels": (), "color": "bgr", "scale": (1, 1, 1)}),
    ],
)
def test_a_trained_network_is_added_without_a_card_by_hand(
    tmp_path: Path, assets: Path, file: str, wish: dict[str, Any], family: str, said: dict[str, Any]
) -> None:
    added = add_model(assets / "models" / f"{file}.onnx", Wish(**wish), tmp_path, LIMITS)
    card = added.card
    assert (card.name, card.family) == (file.replace("_", "-"), family)
    assert {key: getattr(card, key, None) or getattr(card.input, key, ()) for key in said} == said
    assert any(
        note.startswith(("batch: made free", "batch: the batch dimension is free")) for note in added.found.notes
    )
    OnnxTools(tmp_path, device="cpu").network(card.ref)


def test_the_labels_of_a_trained_map_are_those_of_its_highest_values(tmp_path: Path, assets: Path) -> None:
    file = assets / "models" / "deeplab_v3_voc.onnx"
    card = add_model(file, Wish(name="deeplab", labels=VOC), tmp_path, LIMITS).card
    with av.open(str(assets / "videos" / "one-by-one-person-detection.mp4")) as container:
        frame = next(frame for frame in container.decode(video=0) if frame.time >= 30)
    picture = frame.reformat(257, 257, "rgb24").to_ndarray()
    (labels,) = OnnxTools(tmp_path, device="cpu").network(card.ref).run([picture])[0]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    values = session.run(None, {session.get_inputs()[0].name: (picture[None] / 127.5 - 1).astype(np.float32)})[0]
    assert np.mean(labels == values[0].argmax(axis=2)) > 0.9999
    assert set(np.unique(labels)) >= {0, VOC.index("person")}


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("PP-OCRv6_det_small", "ppocr-detection"),
        ("PP-OCRv6_rec_small", "ppocr-recognition"),
        ("ch_ppocr_mobile_v2.0_cls_mobile", "ppocr-angle"),
    ],
)
def test_networks_that_read_text_are_told_by_their_outputs(tmp_path: Path, file: str, family: str) -> None:
    models = Path(str(importlib.util.find_spec("rapidocr").origin)).parent / "models"  # type: ignore[union-attr]
    added = add_model(models / f"{file}.onnx", Wish(width=320, height=64 if "_det" in file else 48), tmp_path, LIMITS)
    assert (added.card.task, added.card.family, added.card.labels) == ("text", family, ())
