"""Which family may read a network's outputs, told by their names and shapes, and why.

One function for each kind of layout: it gets `Facts` and gives a `Proposal`, or None where the layout is another one.
The surest proposal whose family is there and accepts the outputs is taken. What a graph can't tell (order of colours,
mean, scale) is proposed as those who train such networks usually have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from cvpipe.inference.cards import Task
from cvpipe.inference.labels import COCO91, FACE_KEYPOINTS
from cvpipe.modelfiles.facts import BYTES, CAFFE, IMAGENET, SIGNED, SSD, UNIT, WHOLE, Facts, Proposal, usual_input
from cvpipe.modelfiles.tables import keypoints, ultralytics
from cvpipe.models.chosen import slots_of

_EXPORTED: Final[Mapping[str, tuple[Task, ...]]] = {
    "detect": ("detection",), "segment": ("instance-segmentation",), "pose": ("pose",), "obb": (),
    "classify": ("classification", "embedding"), "semantic": ("semantic-segmentation",),
}  # fmt: skip
"""What networks of Ultralytics' exporter may be for, by its own word."""
_QUERIES: Final = 2000
_DETR_QUERIES: Final = 100

Rule = Callable[[Facts], Proposal | None]


def proposals(facts: Facts, families: Iterable[str] | None = None) -> list[Proposal]:
    """All that fit, the surest first. families: those that there are; default: whatever is proposed."""
    known = None if families is None else set(families)
    found = [made for rule in RULES if (made := rule(facts)) is not None]
    if (said := _EXPORTED.get(facts.exported_task or "")) is not None:
        found = [p for p in found if p.task in said]
    if facts.dtype in WHOLE:  # pixels as they are
        found = [replace(p, input={k: v for k, v in p.input.items() if k not in ("mean", "scale")}) for p in found]
    return sorted((p for p in found if known is None or p.family in known), key=lambda p: -p.sure)


# Boxes


def _yolox(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 2:
        return None
    cells, columns = facts.shapes[0]
    if cells != facts.cells or columns <= 5:
        return None
    classes = columns - 5
    why = f"one output of {cells} rows, the cells of strides 8, 16 and 32, by 5 + {classes} columns"
    box = {"color": "bgr", "resize": "letterbox", "anchor": "top-left", "pad": 114}
    return Proposal("yolox", "detection", why, 0.9, classes, input=box)


def _fastestdet(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 3:
        return None
    channels, rows, columns = facts.shapes[0]
    if (rows, columns) != (facts.height // 16, facts.width // 16) or channels <= 5 or facts.layout != "nchw":
        return None
    why = f"one output of 5 + {channels - 5} channels on the grid of stride 16"
    return Proposal(
        "fastestdet", "detection", why, 0.85, channels - 5,
        input={"color": "bgr", "scale": (255.0, 255.0, 255.0), "resize": "stretch"},
    )  # fmt: skip


def _yunet(facts: Facts) -> Proposal | None:
    wanted = {f"{what}_{stride}" for what in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)}
    if set(facts.outputs) != wanted:
        return None
    why = "outputs cls, obj, bbox and kps for each of the strides 8, 16 and 32"
    box = {"color": "bgr", "resize": "letterbox", "anchor": "top-left", "pad": 0}
    return Proposal(
        "yunet", "faces", why, 1.0, 1, labels=("face",), keypoints=FACE_KEYPOINTS, input=box, score_threshold=0.6
    )


def _detr(facts: Facts) -> Proposal | None:
    """Queries: boxes (q, 4) with logits (q, classes); or labels, boxes and scores of the best ones; or one table."""
    names = [name.lower() for name in facts.outputs]
    box = {**UNIT, "resize": "stretch"}
    if set(names) == {"labels", "boxes", "scores"} and facts.rows:
        why = "outputs labels, boxes and scores of a fixed number of queries"
        return Proposal("detr", "detection", why, 0.9, None, input=box)
    if not facts.rows or any(len(shape) != 2 or not 0 < shape[0] <= _QUERIES for shape in facts.shapes):
        return None
    if len(facts.shapes) == 1:
        return _detr_table(facts, *facts.shapes[0])
    fours = [i for i, shape in enumerate(facts.shapes) if shape[1] == 4]
    if len(facts.shapes) != 2 or not fours or facts.shapes[0][0] != facts.shapes[1][0]:
        return None
    named = [i for i in fours if "box" in names[i] or names[i] == "dets"]
    boxes = named[0] if named else fours[0]
    queries, columns = facts.shapes[1 - boxes]
    options: dict[str, Any] = {}
    classes = columns
    if columns in (len(COCO91), len(COCO91) + 1):
        classes = len(COCO91)
    elif names[boxes] == "dets" or (queries == _DETR_QUERIES and facts.labels != columns):
        classes = max(1, columns - 1)  # RF-DETR's kind counts one more; DETR's and YOLOS's say `no object`
    if names[boxes] == "dets" and (facts.labels or classes) == columns - 1:
        options["activation"] = "sigmoid"
    if columns == 4 and boxes == 0:
        options["boxes_first"] = True
    # RT-DETR and D-FINE take pixels of 0 to 1; DETR, YOLOS and RF-DETR are as those before them were.
    older = queries <= _DETR_QUERIES or classes == len(COCO91) or names[boxes] == "dets"
    spec = IMAGENET if older and names[boxes] in ("dets", "pred_boxes") else UNIT
    why = f"{queries} queries: boxes of four numbers, and {columns} scores for each"
    return Proposal("detr", "detection", why, 0.75, classes, options=options, input={**spec, "resize": "stretch"})


def _detr_table(facts: Facts, queries: int, columns: int) -> Proposal | None:
    """RT-DETR as Ultralytics exports it: named in the file, or with a score for each of the classes that are named."""
    named = "rtdetr" in facts.metadata.get("description", "").lower()
    scored = columns > 4 and columns != 6 and columns - 4 in (len(facts.names), facts.labels)
    if not scored and not (named and columns == 6):
        return None
    why = f"one output of {queries} queries by " + (f"4 + {columns - 4} columns" if scored else "box, score and class")
    classes = columns - 4 if scored else len(facts.names) or None
    options = {} if scored or classes != 2 else {"top": True}
    return Proposal("detr", "detection", why, 0.92, classes, options=options, input={**UNIT, "resize": "stretch"})


def _dense(facts: Facts) -> Proposal | None:
    """Boxes (n, 4) and scores (n, classes) for thousands of anchors or priors, in either order."""
    fours = [i for i, shape in enumerate(facts.shapes) if len(shape) == 2 and shape[1] == 4]
    if len(facts.shapes) != 2 or len(fours) != 1 or len(facts.shapes[1 - fours[0]]) != 2:
        return None
    which = 1 - fours[0]
    (n, columns), rows = facts.shapes[which], facts.shapes[fours[0]][0]
    if n != rows or n <= _QUERIES:
        return None
    between = bool(facts.low) and facts.low[which] >= 0 and facts.high[which] <= 1
    anchors = 9 * sum(-(-facts.width // s) * -(-facts.height // s) for s in (8, 16, 32, 64, 128))
    if n == anchors:
        why = f"{n} boxes and {columns} scores for each: nine anchors for each cell of strides 8 to 128"
        options = {"activation": "none"} if between else {}
        spec = {**IMAGENET, "resize": "stretch"}
        return Proposal("retinanet", "detection", why, 0.8, columns, options=options, input=spec)
    # Shares of one whole are of a background too.
    shared = bool(facts.last) and facts.last[which] == "Softmax" and columns > 1
    why = f"{n} boxes of four numbers, and {columns} scores for each" + (", the first of nothing" if shared else "")
    return Proposal("ssd", "detection", why, 0.7, columns - shared, input={**SSD, "resize": "stretch"})


def _counted(facts: Facts) -> Proposal | None:
    """TensorFlow's: boxes, classes, scores, and how many there are."""
    slots = slots_of(facts.shapes)
    if slots is None or not slots.counted or slots.masks is not None:
        return None
    why = f"outputs for boxes, classes, scores and their number, at most {facts.shapes[slots.boxes][0]}"
    spec = {**(BYTES if facts.dtype == "uint8" else SIGNED), "resize": "stretch"}
    named = any(name.startswith("detection_classes") for name in facts.outputs)
    # Its own networks count from 1; COCO's names at their numbers have a place for 0.
    options = {"first_label": 1} if named and facts.labels not in (None, len(COCO91)) else {}
    return Proposal("ssd", "detection", why, 0.9, None, options=options, input=spec)


def _torchvision(facts: Facts) -> Proposal | None:
    """Rows without a batch dimension: boxes, labels, scores, maybe masks.

    torchvision's are of the whole canvas; maskrcnn-benchmark's, those of the ONNX model zoo, of their boxes.
    """
    slots = slots_of(facts.shapes)
    if facts.rows or slots is None or slots.counted:
        return None
    masks = slots.masks is not None
    why = "outputs without a batch dimension: boxes, labels, scores" + (" and masks" if masks else "")
    task: Task = "instance-segmentation" if masks else "detection"
    spec = {**UNIT, "resize": "letterbox", "pad": 0}
    if slots.masks is not None and facts.shapes[slots.masks][-2:] != (facts.height, facts.width):
        why += f" of {facts.shapes[slots.masks][-1]} cells a side"
        spec = {**CAFFE, "resize": "letterbox", "anchor": "top-left"}
    # Both count from 1; COCO's names at their numbers have a place for 0.
    options = {"first_label": 1} if facts.labels not in (None, len(COCO91)) else {}
    return Proposal("mask-rcnn", task, why, 0.8, None, options=options, input=spec)


def _nanodet(facts: Facts) -> Proposal | None:
    if not facts.shapes or any(len(shape) != 2 for shape in facts.shapes):
        return None
    rows, columns = _joined(facts.shapes)
    cells = [
        sum((-(-facts.width // s)) * (-(-facts.height // s)) for s in strides)
        for strides in ((8, 16, 32), (8, 16, 32, 64))
    ]
    classes = columns - 32
    # Other numbers of steps are for those who name the family: the rest of nearly any table is a multiple of four.
    if rows not in cells or classes < 1 or (facts.labels is not None and facts.labels - classes not in (0, 1)):
        return None
    box = {"color": "bgr", "mean": (103.53, 116.28, 123.675), "scale": (57.375, 57.12, 58.395), "resize": "stretch"}
    outputs = "one output" if len(facts.shapes) == 1 else "two outputs for each stride, together"
    why = f"{outputs} of {rows} cells by {classes} classes + 4 x 8 steps of a distribution"
    likely = (
        0.95 if "nanodet" in " ".join(facts.metadata.values()).lower() or rows == cells[1] or classes == 80 else 0.5
    )
    return Proposal("nanodet", "detection", why, likely, classes, input=box)


def _joined(shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """(cells, columns) of one table; or of pairs of a level's scores and distances, put together. (0, 0): neither."""
    if len(shapes) == 1:
        return shapes[0]
    levels = {shape[0] for shape in shapes}
    widths = [sorted(shape[1] for shape in shapes if shape[0] == level) for level in levels]
    if len(shapes) not in (6, 8) or any(width != widths[0] or len(width) != 2 or 32 not in width for width in widths):
        return 0, 0
    return sum(levels), sum(widths[0])


# Keypoints of a crop


def _simcc(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 2 or any(len(s) != 2 for s in facts.shapes) or facts.shapes[0][0] != facts.shapes[1][0]:
        return None
    (k, across), (_, down) = facts.shapes
    if across * facts.height != down * facts.width or across % facts.width:
        return None
    why = f"two outputs of {k} rows, one place for each part of a pixel across ({across}) and down ({down})"
    return Proposal(
        "simcc", "pose", why, 0.95, None, **keypoints(k), input={**IMAGENET, "resize": "letterbox", "pad": 0}
    )


def _heatmaps(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 3:
        return None
    k, rows, columns = facts.shapes[0]
    wanted = facts.task == "pose" or facts.keypoints == k
    # Crops of persons are higher than wide by a third.
    likely = k == 17 or 3 * facts.height == 4 * facts.width
    if not wanted and (not likely or (rows, columns) != (facts.height // 4, facts.width // 4)):
        return None
    why = f"one output of {k} maps of {columns}x{rows} cells"
    spec = {**IMAGENET, "resize": "letterbox", "pad": 0}
    return Proposal("heatmaps", "pose", why, 0.9 if wanted else 0.8, None, **keypoints(k), input=spec)


def _movenet(facts: Facts) -> Proposal | None:
    spec = {**BYTES, "resize": "letterbox", "pad": 0}
    if facts.shapes == ((1, 17, 3),):
        why = "one output of 1 x 17 keypoints x (y, x, score)"
        return Proposal("movenet", "pose", why, 1.0, None, **keypoints(17), input=spec)
    if len(facts.shapes) == 1 and len(facts.shapes[0]) == 2 and facts.shapes[0][1] == 56 and facts.shapes[0][0] <= 10:
        why = f"one output of {facts.shapes[0][0]} persons x (17 keypoints x (y, x, score) + box + score)"
        return Proposal("movenet-multi", "pose", why, 1.0, 1, labels=("person",), **keypoints(17), input=spec)
    return None


# Text


def _text(facts: Facts) -> Proposal | None:
    """PaddleOCR's three: lines are found, turned, and read. Said by the task, or by Paddle's marks in the file."""
    if facts.inputs != ("x",) or len(facts.shapes) != 1:
        return None
    shape = facts.shapes[0]
    named = facts.outputs[0].startswith(("fetch_name", "save_infer_model", "sigmoid", "softmax"))
    if not named and facts.task != "text":
        return None
    signed = {"color": "bgr", "mean": (127.5,) * 3, "scale": (127.5,) * 3, "resize": "letterbox", "pad": 0}
    if "character" in facts.metadata or (
        len(shape) == 2 and shape[1] > 5 and shape[0] > 1 and facts.height in (32, 48)
    ):
        why = f"one table of {shape[-1]} characters for each step, the first of which is for nothing"
        return Proposal("ppocr-recognition", "text", why, 0.9, 0, input=signed)
    if shape == (2,):
        why = "two numbers, for upright and upside down"
        return Proposal("ppocr-angle", "text", why, 0.8, 0, input=signed)
    if len(shape) == 3 and shape[0] == 1 and _covers(shape[1], shape[2], facts):
        why = f"one map of {shape[2]}x{shape[1]} cells, between 0 and 1"
        found = {**IMAGENET, "color": "bgr", "resize": "letterbox", "pad": 0}
        return Proposal("ppocr-detection", "text", why, 0.85, 0, input=found)
    return None


# Maps


def _map(facts: Facts) -> tuple[int, int, int, int] | None:
    """Which output is a map of classes, and its classes, rows and columns; at least an eighth of the canvas's size."""
    for place, shape in enumerate(() if facts.has_boxes else facts.shapes):
        if len(shape) == 3:
            for count, rows, columns in ((shape[0], shape[1], shape[2]), (shape[2], shape[0], shape[1])):
                if _covers(rows, columns, facts) and count < 2 * min(rows, columns):
                    return place, count, rows, columns
    return None


def _covers(rows: int, columns: int, facts: Facts) -> bool:
    """Whether a grid may lie over the canvas: cells of at most eight pixels, about as high as wide."""
    down, across = facts.height / rows, facts.width / columns
    return 0.9 <= down <= 8.5 and 0.9 <= across <= 8.5 and 0.8 < down / across < 1.25


def _fitted(task: Task) -> Mapping[str, Any]:
    """How maps' pictures become the network's size: of people the shape is kept, as for those who train on crops."""
    return {"resize": "letterbox", "pad": 0} if task == "human-parsing" else {"resize": "stretch"}


def _semantic(facts: Facts) -> Proposal | None:
    found = _map(facts)
    if found is None or found[1] < 2 or facts.task == "depth":
        return None
    place, count, rows, columns = found
    # Shares that add up to one, or values of any size, are of one class for each pixel.
    alone = facts.last[place] == "Sigmoid" if facts.last else False
    task: Task = facts.task if facts.task in ("semantic-segmentation", "human-parsing") else "semantic-segmentation"
    why = f"output {place} is a map of {columns}x{rows} cells with {count} values each, the highest wins"
    options = {"output": place} if place else {}
    spec = {**usual_input(facts, task), **_fitted(task)}
    return Proposal("semantic-map", task, why, 0.4 if alone else 0.6, count, options=options, input=spec)


def _class_numbers(facts: Facts) -> Proposal | None:
    """The highest is taken in the network: one number for each cell."""
    place = next((i for i, whole in enumerate(facts.integers) if whole and _one_each(facts.shapes[i], facts)), None)
    asked = (facts.labels or 0) > 1 or facts.task in ("semantic-segmentation", "human-parsing")
    if place is None and asked and facts.task != "depth":
        place = next((i for i, shape in enumerate(facts.shapes) if _one_each(shape, facts)), None)
    if place is None:
        return None
    task: Task = facts.task if facts.task in ("semantic-segmentation", "human-parsing") else "semantic-segmentation"
    why = f"output {place} is one whole number for each cell, its class"
    options = {"output": place} if place else {}
    spec = {**usual_input(facts, task), **_fitted(task)}
    return Proposal("semantic-map", task, why, 0.7, None, options=options, input=spec)


def _one_each(shape: tuple[int, ...], facts: Facts) -> bool:
    sides = [side for side in shape if side != 1]
    return len(sides) == 2 and not facts.has_boxes and _covers(sides[0], sides[1], facts)


def _multi_label(facts: Facts) -> Proposal | None:
    found = _map(facts)
    if found is None or facts.task == "depth":
        return None
    place, count, rows, columns = found
    sigmoid = bool(facts.last) and facts.last[place] == "Sigmoid"
    between = bool(facts.low) and facts.low[place] >= 0 and facts.high[place] <= 1
    if not sigmoid and not between:
        return None
    task: Task = facts.task if facts.task in ("semantic-segmentation", "human-parsing") else "human-parsing"
    why = f"output {place} is a map of {columns}x{rows} cells with {count} values each, all between 0 and 1"
    options = {"output": place} if place else {}
    spec = {**IMAGENET, **_fitted(task)}
    return Proposal("multi-label-map", task, why, 0.65 if sigmoid else 0.45, count, options=options, input=spec)


def _depth(facts: Facts) -> Proposal | None:
    for place, shape in enumerate(facts.shapes):
        if _one_each(shape, facts):
            sides = [side for side in shape if side != 1]
            name = facts.outputs[place].lower()
            likely = 0.8 if facts.task == "depth" or "depth" in name or "disp" in name else 0.5
            why = f"output {place} is one value for each of {sides[1]}x{sides[0]} cells"
            options = {"output": place} if place else {}
            return Proposal(
                "depth-map",
                "depth",
                why,
                likely,
                0,
                options=options,
                input={**usual_input(facts, "depth"), "resize": "stretch"},
            )
    return None


# Vectors


def _vector(facts: Facts) -> Proposal | None:
    if len(facts.shapes) > 3 or facts.has_boxes:
        return None
    for place, shape in enumerate(facts.shapes):
        size = max(shape, default=0)
        if size < 2 or any(side not in (1, size) for side in shape) or sum(side == size for side in shape) != 1:
            continue
        options: dict[str, Any] = {"output": place} if place else {}
        classes = facts.labels == size or len(facts.names) == size or size in (1000, 1001, 21841)
        soft = bool(facts.last) and facts.last[place] in ("Softmax", "Sigmoid")
        if facts.task == "classification" or (facts.task is None and (classes or soft)):
            if soft:
                options["activation"] = "none"
            why = f"output {place} is one row of {size} numbers" + (f" from {facts.last[place]}" if soft else "")
            spec = {**usual_input(facts, "classification"), "resize": "stretch"}
            return Proposal("classification", "classification", why, 0.7, size, options=options, input=spec)
        why = f"output {place} is one row of {size} numbers for each picture"
        spec = {**usual_input(facts, "embedding"), "resize": "stretch"}
        return Proposal("embedding", "embedding", why, 0.6, 0, options=options, input=spec)
    return _tokens(facts)


def _tokens(facts: Facts) -> Proposal | None:
    """A transformer's last layer, a row for each part of the picture, the first of which is for all of it."""
    place = next((i for i, name in enumerate(facts.outputs) if "hidden_state" in name), None)
    if place is None or len(facts.shapes[place]) != 2:
        return None
    tokens, size = facts.shapes[place]
    options: dict[str, Any] = {"pool": "first"} | ({"output": place} if place else {})
    spec = {**usual_input(facts, "embedding"), "resize": "stretch"}
    why = f"output {place} is {tokens} rows of {size} numbers, the first of which is taken"
    return Proposal("embedding", "embedding", why, 0.5, 0, options=options, input=spec)


RULES: Final[tuple[Rule, ...]] = (
    _yunet, _movenet, _simcc, ultralytics, _yolox, _nanodet, _fastestdet, _detr, _counted, _dense, _torchvision,
    _heatmaps, _text, _multi_label, _class_numbers, _semantic, _depth, _vector,
)  # fmt: skip
