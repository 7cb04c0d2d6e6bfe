"""Which family may read a network's outputs, told by their names and shapes, and why.

One function for each kind of layout: it gets `Facts` and gives a `Proposal`, or None where the layout is another one.
The surest proposal whose family is there and accepts the outputs is taken. What a graph can't tell (order of colours,
mean, scale) is proposed as those who train such networks usually have it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cvpipe.inference.cards import Task
from cvpipe.inference.labels import COCO, COCO_KEYPOINTS, COCO_SKELETON, FACE_KEYPOINTS, VOC

Shape = tuple[int, ...]

IMAGENET: Final[Mapping[str, Any]] = {
    "color": "rgb",
    "mean": (123.675, 116.28, 103.53),
    "scale": (58.395, 57.12, 57.375),
}
UNIT: Final[Mapping[str, Any]] = {"color": "rgb", "scale": (255.0, 255.0, 255.0)}
SIGNED: Final[Mapping[str, Any]] = {"color": "rgb", "mean": (127.5,) * 3, "scale": (127.5,) * 3}
BYTES: Final[Mapping[str, Any]] = {"color": "rgb"}

_MAX_NAMES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a network. shapes: of the outputs for one picture, without the batch dimension; the first
    number is -1 where outputs have none. low, high: smallest and largest value of each output for a made-up picture.

    labels, keypoints: how many the user names; None: not said. normalises, reverses: whether the graph scales its
    input, and turns its channels round, before anything else. last: operators that make the outputs.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    width: int
    height: int
    layout: str
    dtype: str = "float"
    rows: bool = True
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    normalises: bool = False
    reverses: bool = False
    last: tuple[str, ...] = ()
    labels: int | None = None
    keypoints: int | None = None
    task: Task | None = None

    @property
    def cells(self) -> int:
        """Grid cells of the strides 8, 16 and 32."""
        return sum((self.width // s) * (self.height // s) for s in (8, 16, 32))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes that Ultralytics' exporter writes into the file; empty where there are none."""
        text = self.metadata.get("names", "")
        try:
            found = ast.literal_eval(text) if len(text) < _MAX_NAMES else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ()
        if isinstance(found, dict) and set(found) == set(range(len(found))):
            found = [found[i] for i in range(len(found))]
        return tuple(str(name)[:100] for name in found) if isinstance(found, list | tuple) else ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A family and what its card would say. sure: 0 to 1. classes: how many labels it needs; None: any number."""

    family: str
    task: Task
    why: str
    sure: float
    classes: int | None = None
    labels: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    score_threshold: float | None = None


Rule = Callable[[Facts], Proposal | None]


def proposals(facts: Facts, families: Iterable[str] | None = None) -> list[Proposal]:
    """All that fit, the surest first. families: those that there are; default: whatever is proposed."""
    known = None if families is None else set(families)
    found = [made for rule in RULES if (made := rule(facts)) is not None]
    return sorted((p for p in found if known is None or p.family in known), key=lambda p: -p.sure)


def usual_input(facts: Facts, task: Task | None) -> Mapping[str, Any]:
    """What networks for `task` usually take, where no family says more."""
    if facts.dtype == "uint8" or facts.normalises:
        return {"color": "bgr" if facts.reverses else "rgb"}  # the graph does it itself
    if facts.layout == "nhwc":
        return SIGNED if task in ("semantic-segmentation", "human-parsing", "classification") else BYTES
    return UNIT if task in ("detection", "instance-segmentation") else IMAGENET


def class_names(count: int, facts: Facts, task: Task) -> tuple[tuple[str, ...], str]:
    """Names for `count` classes that the user did not name, and where they are from."""
    names = facts.names
    if len(names) == count:
        return names, "named in the file"
    if task in ("detection", "instance-segmentation") and count == len(COCO):
        return COCO, "COCO's, for there are 80"
    if task == "semantic-segmentation" and count == len(VOC):
        return VOC, "Pascal VOC's, for there are 21"
    if task in ("pose", "faces") and count == 1:
        return ("face",) if task == "faces" else ("person",), "the usual one"
    return tuple(f"class {i}" for i in range(count)), "made up; name them with labels"


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


def _ultralytics(facts: Facts) -> Proposal | None:
    """v8 and later: (4 + classes [+ keypoints or mask weights], cells)."""
    if not facts.shapes or len(facts.shapes[0]) != 2:
        return None
    rows, cells = facts.shapes[0]
    if cells != facts.cells or rows <= 4 or rows >= cells:
        return None
    task = facts.metadata.get("task", "")
    prototypes = [s for s in facts.shapes[1:] if len(s) == 3]
    box = {**UNIT, "resize": "letterbox", "anchor": "centre", "pad": 114}
    start = f"output 0 is {rows} rows by {cells} columns, the cells of strides 8, 16 and 32"
    if prototypes:
        weights = prototypes[0][0]
        classes = rows - 4 - weights
        why = f"{start}, and output 1 holds {weights} mask prototypes: 4 + {classes} classes + {weights}"
        return Proposal("ultralytics-seg", "instance-segmentation", why, 0.95, classes, input=box)
    if len(facts.shapes) != 1:
        return None
    said = _keypoint_count(facts)
    if task == "pose" or facts.keypoints or rows == 4 + 1 + 3 * 17:
        count = facts.keypoints or said or 17
        classes = rows - 4 - 3 * count
        if classes >= 1:
            names = COCO_KEYPOINTS if count == 17 else tuple(f"keypoint {i}" for i in range(count))
            why = f"{start}: 4 + {classes} + 3 x {count} keypoints"
            skeleton = COCO_SKELETON if count == 17 else ()
            return Proposal(
                "ultralytics-pose", "pose", why, 0.95, classes, keypoints=names, skeleton=skeleton, input=box
            )
    return Proposal("ultralytics-yolo", "detection", f"{start}: 4 + {rows - 4} classes", 0.9, rows - 4, input=box)


def _keypoint_count(facts: Facts) -> int | None:
    """Of the shape that Ultralytics' exporter writes into the file, `[17, 3]`."""
    digits = facts.metadata.get("kpt_shape", "").strip("[]() ").split(",")[0]
    return int(digits) if digits.isdecimal() and len(digits) < 4 else None


def _yolov5(facts: Facts) -> Proposal | None:
    """v5, v7 and kin: three anchors for each cell, with objectness."""
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 2:
        return None
    rows, columns = facts.shapes[0]
    if rows != 3 * facts.cells or columns <= 5:
        return None
    why = (
        f"one output of {rows} rows, three anchors for each cell of strides 8, 16 and 32, by 5 + {columns - 5} columns"
    )
    box = {**UNIT, "resize": "letterbox", "anchor": "centre", "pad": 114}
    return Proposal("ultralytics-yolo", "detection", why, 0.95, columns - 5, input=box)


def _end_to_end(facts: Facts) -> Proposal | None:
    """v10, 26, and exports with suppression inside: (objects, 6), x1, y1, x2, y2, score, class."""
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 2 or facts.shapes[0][1] != 6 or facts.shapes[0][0] > 5000:
        return None
    why = f"one output of {facts.shapes[0][0]} objects: box, score and class, suppression is done"
    box = {**UNIT, "resize": "letterbox", "anchor": "centre", "pad": 114}
    return Proposal("ultralytics-yolo", "detection", why, 0.7, len(facts.names) or None, input=box)


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
    """Queries: boxes (q, 4) with logits (q, classes); or labels, boxes and scores of the best ones."""
    names = {name.lower(): shape for name, shape in zip(facts.outputs, facts.shapes, strict=True)}
    box = {**UNIT, "resize": "stretch"}
    if set(names) == {"labels", "boxes", "scores"} and facts.rows:
        why = "outputs labels, boxes and scores of a fixed number of queries"
        return Proposal("detr", "detection", why, 0.9, None, input=box)
    fours = [s for s in facts.shapes if len(s) == 2 and s[1] == 4]
    others = [s for s in facts.shapes if len(s) == 2 and s[1] != 4]
    if len(fours) == 1 and len(others) == 1 and fours[0][0] == others[0][0] <= 2000 and facts.rows:
        # A softmax has a class more, for nothing; RT-DETR's kind has none.
        why = f"{fours[0][0]} queries: boxes of four numbers, and {others[0][1]} scores for each"
        spec = IMAGENET if any(name.startswith(("dets", "pred")) for name in names) else UNIT
        return Proposal("detr", "detection", why, 0.75, others[0][1], input={**spec, "resize": "stretch"})
    return None


def _ssd(facts: Facts) -> Proposal | None:
    """Boxes (n, 4) and scores (n, classes) for thousands of priors, in either order."""
    fours = [s for s in facts.shapes if len(s) == 2 and s[1] == 4]
    others = [s for s in facts.shapes if len(s) == 2 and s[1] != 4]
    if len(facts.shapes) != 2 or len(fours) != 1 or len(others) != 1 or fours[0][0] != others[0][0]:
        return None
    if fours[0][0] <= 2000:
        return None
    why = f"{fours[0][0]} boxes of four numbers, and {others[0][1]} scores for each"
    return Proposal("ssd", "detection", why, 0.7, others[0][1], input={**SIGNED, "resize": "stretch"})


def _torchvision(facts: Facts) -> Proposal | None:
    """Rows without a batch dimension: boxes, labels, scores, maybe masks or keypoints."""
    if facts.rows:
        return None
    count = len(facts.shapes)
    boxes = [s for s in facts.shapes if len(s) == 2 and s[1] == 4]
    if len(boxes) != 1 or count not in (3, 4):
        return None
    masks = any(len(s) == 4 for s in facts.shapes)
    why = "outputs without a batch dimension: boxes, labels, scores" + (" and masks" if masks else "")
    task: Task = "instance-segmentation" if masks else "detection"
    return Proposal("mask-rcnn", task, why, 0.8, None, input={**UNIT, "resize": "letterbox", "pad": 0})


def _nanodet(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 2:
        return None
    rows, columns = facts.shapes[0]
    cells = [
        sum((-(-facts.width // s)) * (-(-facts.height // s)) for s in strides)
        for strides in ((8, 16, 32), (8, 16, 32, 64))
    ]
    classes = columns - 32
    if rows not in cells or classes < 1:
        return None
    box = {"color": "bgr", "mean": (103.53, 116.28, 123.675), "scale": (57.375, 57.12, 58.395), "resize": "stretch"}
    why = f"one output of {rows} cells by {classes} classes + 4 x 8 steps of a distribution"
    likely = (
        0.95 if "nanodet" in " ".join(facts.metadata.values()).lower() or rows == cells[1] or classes == 80 else 0.5
    )
    return Proposal("nanodet", "detection", why, likely, classes, input=box)


# Keypoints of a crop


def _simcc(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 2 or any(len(s) != 2 for s in facts.shapes) or facts.shapes[0][0] != facts.shapes[1][0]:
        return None
    (k, across), (_, down) = facts.shapes
    if across * facts.height != down * facts.width or across % facts.width:
        return None
    why = f"two outputs of {k} rows, one place for each part of a pixel across ({across}) and down ({down})"
    return Proposal(
        "simcc", "pose", why, 0.95, None, **_keypoints(k), input={**IMAGENET, "resize": "letterbox", "pad": 0}
    )


def _heatmaps(facts: Facts) -> Proposal | None:
    if len(facts.shapes) != 1 or len(facts.shapes[0]) != 3:
        return None
    k, rows, columns = facts.shapes[0]
    wanted = facts.task == "pose" or facts.keypoints == k
    if not wanted and (k != 17 or (rows, columns) != (facts.height // 4, facts.width // 4)):
        return None
    why = f"one output of {k} maps of {columns}x{rows} cells"
    spec = {**IMAGENET, "resize": "letterbox", "pad": 0}
    return Proposal("heatmaps", "pose", why, 0.9 if wanted else 0.8, None, **_keypoints(k), input=spec)


def _movenet(facts: Facts) -> Proposal | None:
    spec = {**BYTES, "resize": "letterbox", "pad": 0}
    if facts.shapes == ((1, 17, 3),):
        why = "one output of 1 x 17 keypoints x (y, x, score)"
        return Proposal("movenet", "pose", why, 1.0, None, **_keypoints(17), input=spec)
    if len(facts.shapes) == 1 and len(facts.shapes[0]) == 2 and facts.shapes[0][1] == 56 and facts.shapes[0][0] <= 10:
        why = f"one output of {facts.shapes[0][0]} persons x (17 keypoints x (y, x, score) + box + score)"
        return Proposal("movenet-multi", "pose", why, 1.0, 1, labels=("person",), **_keypoints(17), input=spec)
    return None


def _keypoints(count: int) -> dict[str, Any]:
    if count == len(COCO_KEYPOINTS):
        return {"keypoints": COCO_KEYPOINTS, "skeleton": COCO_SKELETON}
    return {"keypoints": tuple(f"keypoint {i}" for i in range(count)), "skeleton": ()}


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
    for place, shape in enumerate(facts.shapes):
        if len(shape) == 3:
            for count, rows, columns in ((shape[0], shape[1], shape[2]), (shape[2], shape[0], shape[1])):
                if _covers(rows, columns, facts) and count < 2 * min(rows, columns):
                    return place, count, rows, columns
    return None


def _covers(rows: int, columns: int, facts: Facts) -> bool:
    """Whether a grid may lie over the canvas: cells of at most eight pixels, about as high as wide."""
    down, across = facts.height / rows, facts.width / columns
    return 0.9 <= down <= 8.5 and 0.9 <= across <= 8.5 and 0.8 < down / across < 1.25


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
    spec = {**usual_input(facts, task), "resize": "stretch"}
    return Proposal("semantic-map", task, why, 0.4 if alone else 0.6, count, options=options, input=spec)


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
    spec = {**IMAGENET, "resize": "stretch"}
    return Proposal("multi-label-map", task, why, 0.65 if sigmoid else 0.45, count, options=options, input=spec)


def _depth(facts: Facts) -> Proposal | None:
    for place, shape in enumerate(facts.shapes):
        sides = [side for side in shape if side != 1]
        if len(sides) == 2 and _covers(sides[0], sides[1], facts):
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
    if len(facts.shapes) > 3:
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
    return None


RULES: Final[tuple[Rule, ...]] = (
    _yunet, _movenet, _simcc, _ultralytics, _yolov5, _yolox, _nanodet, _fastestdet, _detr, _ssd, _torchvision,
    _end_to_end, _heatmaps, _text, _multi_label, _semantic, _depth, _vector,
)  # fmt: skip
