"""What is proposed for the layouts that exporters write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from onnx import TensorProto

from cvpipe.errors import InvalidModel, ModelUnrecognised
from cvpipe.inference.labels import COCO, COCO91, COCO_KEYPOINTS, FACE_KEYPOINTS, VOC
from cvpipe.modelfiles import Wish
from cvpipe.modelfiles.examine import examine
from tests.modelfiles.networks import answering

Outputs = dict[str, Sequence[int]]

WIDTH, HEIGHT = 128, 96
NCHW = (1, 3, HEIGHT, WIDTH)
CELLS = 12 * 16 + 6 * 8 + 3 * 4  # strides 8, 16 and 32
PROTOTYPES = (1, 32, HEIGHT // 4, WIDTH // 4)
ANCHORS = 9 * (CELLS + 2 * 2 + 1)

RAW = {"mean": (0, 0, 0), "scale": (1, 1, 1)}
UNIT = {"mean": (0, 0, 0), "scale": (255, 255, 255), "color": "rgb"}
IMAGENET = {"mean": (123.675, 116.28, 103.53), "scale": (58.395, 57.12, 57.375), "color": "rgb"}


def exported(task: str, names: int, **more: str) -> dict[str, Any]:
    """What Ultralytics' exporter writes into a file."""
    return {"metadata": {"task": task, "names": repr({i: f"c{i}" for i in range(names)}), **more}}


def looked_at(
    outputs: Outputs, graph: dict[str, Any] | None = None, wish: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The card that is proposed."""
    raw = answering(outputs, **{"image": NCHW, **(graph or {})})
    found, _ = examine(raw, Wish(**(wish or {})), "net")
    return found.card


def table(*shape: int) -> Outputs:
    return {"output0": (1, *shape)}


def pair(first: str, second: str, n: int, columns: tuple[int, int]) -> Outputs:
    return {first: (1, n, columns[0]), second: (1, n, columns[1])}


DETR = ("logits", "pred_boxes", 100)
RT_DETR = ("logits", "pred_boxes", 300)
RF_DETR = ("dets", "labels", 300)
CHOSEN: Outputs = {"labels": (1, 300), "boxes": (1, 300, 4), "scores": (1, 300)}
COUNTED: Outputs = {
    "detection_boxes": (1, 50, 4), "detection_classes": (1, 50), "detection_scores": (1, 50), "num_detections": (1,)
}  # fmt: skip
TORCHVISION: Outputs = {"boxes": (7, 4), "labels": (7,), "scores": (7,)}
BYTES_IN = {"image": (1, HEIGHT, WIDTH, 3), "dtype": TensorProto.UINT8}
PERSON = {"image": (1, 3, 256, 192)}
LEVELS: Outputs = {f"{what}_{n}": (1, n, size) for n in (192, 48, 12) for what, size in (("cls", 80), ("dis", 32))}
YUNET: Outputs = {
    f"{what}_{stride}": (1, (HEIGHT // stride) * (WIDTH // stride), size)
    for what, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}

# Outputs, the rest of the graph, what the user says; then family, number of labels, and what else the card says.
ROWS: dict[str, tuple[Outputs, dict[str, Any], dict[str, Any], str, int, dict[str, Any]]] = {
    "yolox": (table(CELLS, 85), {}, {}, "yolox", 80, {**RAW, "color": "bgr", "anchor": "top-left"}),
    "v8": (table(84, CELLS), {}, {}, "ultralytics-yolo", 80, {**UNIT, "labels": COCO, "anchor": "centre"}),
    "v8 of 52 classes": (table(56, CELLS), exported("detect", 52), {}, "ultralytics-yolo", 52, {"task": "detection"}),
    "v8 of 20 classes, as Pascal VOC": (
        table(24, CELLS), {}, {"labels": "voc"}, "ultralytics-yolo", 20, {"labels": VOC[1:]}
    ),
    "v8 with a stride of 64": (table(7, CELLS + 2), exported("detect", 3), {}, "ultralytics-yolo", 3, UNIT),
    "v8 with a stride of 4": (table(7, CELLS + 24 * 32), exported("detect", 3), {}, "ultralytics-yolo", 3, UNIT),
    "v8 that takes bytes": (
        table(84, CELLS), {"dtype": TensorProto.UINT8}, {}, "ultralytics-yolo", 80, {**RAW, "layout": "nchw"}
    ),
    "v5": (table(3 * CELLS, 85), {}, {}, "ultralytics-yolo", 80, UNIT),
    "v10, 26, and with NMS": (table(300, 6), exported("detect", 3), {}, "ultralytics-yolo", 3, UNIT),
    "v10, 26 of two classes": (table(300, 6), exported("detect", 2), {}, "ultralytics-yolo", 2, {"options": {}}),
    "v8 seg": ({**table(116, CELLS), "output1": PROTOTYPES}, {}, {}, "ultralytics-seg", 80, UNIT),
    "v5 seg": ({**table(3 * CELLS, 117), "output1": PROTOTYPES}, {}, {}, "ultralytics-seg", 80, UNIT),
    "26 seg, and with NMS": (
        {**table(300, 38), "output1": PROTOTYPES}, exported("segment", 3), {}, "ultralytics-seg", 3, UNIT
    ),
    "v8 pose": (table(56, CELLS), {}, {}, "ultralytics-pose", 1, {"keypoints": COCO_KEYPOINTS, "labels": ("person",)}),
    "v8 pose of four keypoints without scores": (
        table(13, CELLS), exported("pose", 1, kpt_shape="[4, 2]"), {}, "ultralytics-pose", 1,
        {"keypoints": tuple(f"keypoint {i}" for i in range(4))},
    ),
    "26 pose, and with NMS": (
        table(300, 57), exported("pose", 1, kpt_shape="[17, 3]"), {}, "ultralytics-pose", 1,
        {"keypoints": COCO_KEYPOINTS},
    ),
    "v8 cls": (
        table(10), {**exported("classify", 10), "last": "Softmax"}, {}, "classification", 10,
        {**UNIT, "options": {"activation": "none"}},
    ),
    "Ultralytics' RT-DETR": (
        table(300, 6), exported("detect", 80, description="Ultralytics rtdetr-l model"), {}, "detr", 80,
        {**UNIT, "resize": "stretch"},
    ),
    "Ultralytics' RT-DETR, older": (table(300, 7), exported("detect", 3), {}, "detr", 3, UNIT),
    "RT-DETR, D-FINE, DEIM": (
        CHOSEN, {"extra": {"orig_target_sizes": (1, 2)}, "integers": ["labels"]}, {"labels": "coco"}, "detr", 80,
        {**UNIT, "resize": "stretch", "extra": {"orig_target_sizes": "size_wh"}},
    ),
    "transformers' RT-DETR and D-FINE": (pair(*RT_DETR, (80, 4)), {}, {}, "detr", 80, {**UNIT, "labels": COCO}),
    "transformers' RT-DETR of four classes": (pair(*RT_DETR, (4, 4)), {}, {}, "detr", 4, {"options": {}}),
    "transformers' DETR and YOLOS": (pair(*DETR, (92, 4)), {}, {}, "detr", 91, {**IMAGENET, "labels": COCO91}),
    "transformers' DETR of two classes": (pair(*DETR, (3, 4)), {}, {}, "detr", 2, {**IMAGENET, "options": {}}),
    "RF-DETR": (pair(*RF_DETR, (4, 91)), {}, {}, "detr", 91, {**IMAGENET, "labels": COCO91, "options": {}}),
    "RF-DETR of three classes": (
        pair(*RF_DETR, (4, 4)), {}, {"labels": "a,b,c"}, "detr", 3,
        {"options": {"activation": "sigmoid", "boxes_first": True}},
    ),
    "SSD with a background": (
        pair("scores", "boxes", 3000, (2, 4)), {"last": "Softmax"}, {"task": "faces"}, "ssd", 1,
        {"labels": ("face",), "color": "rgb", "mean": (127, 127, 127), "scale": (128, 128, 128)},
    ),
    "TensorFlow's SSD": (
        COUNTED, BYTES_IN, {"labels": "coco91"}, "ssd", 91, {**RAW, "layout": "nhwc", "options": {}}
    ),
    "TensorFlow's SSD of own classes": (
        COUNTED, BYTES_IN, {"labels": "a,b"}, "ssd", 2, {"options": {"first_label": 1}}
    ),
    "RetinaNet's heads": (
        pair("logits", "shifts", ANCHORS, (91, 4)), {"last": "Identity"}, {}, "retinanet", 91,
        {**IMAGENET, "options": {}},
    ),
    "RetinaNet's heads after a sigmoid": (
        pair("scores", "shifts", ANCHORS, (3, 4)), {}, {}, "retinanet", 3, {"options": {"activation": "none"}}
    ),
    "NanoDet": (table(CELLS, 112), {}, {}, "nanodet", 80, {"color": "bgr", "resize": "stretch"}),
    "NanoDet, older": (LEVELS, {}, {}, "nanodet", 80, {"color": "bgr"}),
    "FastestDet": (table(85, 6, 8), {}, {}, "fastestdet", 80, {"color": "bgr", "scale": (255, 255, 255)}),
    "YuNet": (YUNET, {}, {}, "yunet", 1, {**RAW, "color": "bgr", "keypoints": FACE_KEYPOINTS}),
    "torchvision's Faster R-CNN": (
        TORCHVISION, {"integers": ["labels"]}, {"labels": "coco91"}, "mask-rcnn", 91,
        {**UNIT, "task": "detection", "options": {}},
    ),
    "torchvision's Faster R-CNN of own classes": (
        TORCHVISION, {"integers": ["labels"]}, {"labels": "a,b"}, "mask-rcnn", 2, {"options": {"first_label": 1}}
    ),
    "torchvision's Mask R-CNN": (
        {**TORCHVISION, "masks": (7, 1, HEIGHT, WIDTH)}, {"integers": ["labels"]}, {"labels": "coco91"},
        "mask-rcnn", 91, {**UNIT, "task": "instance-segmentation"},
    ),
    "Mask R-CNN of the ONNX model zoo": (
        {**TORCHVISION, "masks": (7, 1, 28, 28)}, {"integers": ["labels"]}, {"labels": "coco"}, "mask-rcnn", 80,
        {"color": "bgr", "mean": (102.9801, 115.9465, 122.7717), "scale": (1, 1, 1), "anchor": "top-left",
         "options": {"first_label": 1}},
    ),
    "HRNet, ViTPose": (table(17, 64, 48), PERSON, {}, "heatmaps", 0, {**IMAGENET, "keypoints": COCO_KEYPOINTS}),
    "ViTPose of whole bodies": (
        table(133, 64, 48), PERSON, {}, "heatmaps", 0, {"keypoints": tuple(f"keypoint {i}" for i in range(133))}
    ),
    "RTMPose": (
        {"simcc_x": (1, 17, 384), "simcc_y": (1, 17, 512)}, PERSON, {}, "simcc", 0,
        {**IMAGENET, "keypoints": COCO_KEYPOINTS},
    ),
    "MoveNet": (
        table(1, 17, 3), {"image": (1, 192, 192, 3), "dtype": TensorProto.INT32}, {}, "movenet", 0,
        {**RAW, "layout": "nhwc", "color": "rgb"},
    ),
    "MoveNet for several": (
        table(6, 56), {"image": (1, 256, 256, 3), "dtype": TensorProto.INT32}, {}, "movenet-multi", 1, RAW
    ),
    "logits of classes": (
        table(21, HEIGHT, WIDTH), {"last": "Identity"}, {}, "semantic-map", 21, {**IMAGENET, "labels": VOC}
    ),
    "numbers of classes": (
        table(HEIGHT, WIDTH), {"integers": ["output0"]}, {"labels": "voc"}, "semantic-map", 21, {"options": {}}
    ),
    "numbers of classes as floats": (table(1, HEIGHT, WIDTH), {}, {"labels": "voc"}, "semantic-map", 21, IMAGENET),
    "several labels for a cell": (
        table(3, HEIGHT, WIDTH), {"last": "Sigmoid"}, {"labels": "skin,hair,coat"}, "multi-label-map", 3, IMAGENET
    ),
    "depth": ({"predicted_depth": (1, HEIGHT, WIDTH)}, {}, {}, "depth-map", 0, IMAGENET),
    "logits of ImageNet": (table(1000), {"last": "Identity"}, {}, "classification", 1000, {**IMAGENET, "options": {}}),
    "a vector": (table(256), {}, {}, "embedding", 0, {"options": {}}),
    "DINO's tokens": ({"last_hidden_state": (1, 50, 384)}, {}, {}, "embedding", 0, {"options": {"pool": "first"}}),
}  # fmt: skip


@pytest.mark.parametrize(("outputs", "graph", "wish", "family", "labels", "said"), ROWS.values(), ids=list(ROWS))
def test_a_layout_is_told_by_its_outputs(
    outputs: Outputs,
    graph: dict[str, Any],
    wish: dict[str, Any],
    family: str,
    labels: int,
    said: dict[str, Any],
) -> None:
    card = looked_at(outputs, graph, wish)
    assert (card["family"], len(card["labels"])) == (family, labels)
    got = {key: card[key] if key in card else card["input"][key] for key in said}
    assert got == {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}


@pytest.mark.parametrize(
    ("outputs", "graph", "family"),
    [
        (table(300, 6), {}, "ultralytics-yolo"),
        (CHOSEN, {"extra": {"orig_target_sizes": (1, 2)}, "integers": ["labels"]}, "detr"),
        (COUNTED, BYTES_IN, "ssd"),
        (TORCHVISION, {"integers": ["labels"]}, "mask-rcnn"),
        (table(HEIGHT, WIDTH), {"integers": ["output0"]}, "semantic-map"),
    ],
    ids=["objects", "RT-DETR", "TensorFlow's SSD", "torchvision's", "numbers of classes"],
)
def test_labels_are_asked_for_where_the_graph_tells_no_number_of_classes(
    outputs: Outputs, graph: dict[str, Any], family: str
) -> None:
    with pytest.raises(InvalidModel, match=f"as {family}, a model for .* needs the names of its classes") as error:
        looked_at(outputs, graph)
    assert error.value.field == "labels"


@pytest.mark.parametrize(
    ("outputs", "graph"),
    [
        (table(20, CELLS), exported("obb", 15)),
        (table(300, 84), {}),
        ({**TORCHVISION, "keypoints": (7, 17, 3), "keypoints_scores": (7, 17)}, {"integers": ["labels"]}),
        ({**COUNTED, "raw_detection_boxes": (1, 90, 4), "raw_detection_scores": (1, 90, 91)}, BYTES_IN),
    ],
    ids=["turned boxes", "300 x 84 of nobody", "keypoints of R-CNN", "TensorFlow's with raw boxes"],
)
def test_what_no_family_reads_is_not_taken_for_something_else(outputs: Outputs, graph: dict[str, Any]) -> None:
    with pytest.raises(ModelUnrecognised):
        looked_at(outputs, graph)


@pytest.mark.parametrize("labels", ["cat", "a,b,c,d,e", "voc"])
def test_a_table_is_no_nanodet_because_the_labels_leave_a_multiple_of_four(labels: str) -> None:
    with pytest.raises(InvalidModel, match="as yolox, this network tells 80 classes apart") as error:
        looked_at(table(CELLS, 85), wish={"labels": labels})
    assert error.value.field == "labels"


@pytest.mark.parametrize(
    ("wish", "field"),
    [({"options": {"foo": 1}}, "options.foo"), ({"width": 64}, "input_size"), ({"labels": "a,b"}, "labels")],
    ids=["option", "size", "labels"],
)
def test_what_the_user_said_wrong_is_named(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidModel) as error:
        looked_at(table(84, CELLS), wish=wish)
    assert error.value.field == field


def test_bytes_are_not_scaled() -> None:
    with pytest.raises(InvalidModel, match="takes pixels as they are") as error:
        looked_at(table(84, CELLS), {"dtype": TensorProto.UINT8}, {"scale": 255})
    assert error.value.field == "scale"
